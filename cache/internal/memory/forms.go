package memory

// MaxForms is how many forms an entry may have, each with a number of its own.
const MaxForms = 4

// A form of an entry is the same response in a content coding, made from it: an
// Entry that is found by its entry alone, with another header and body. It counts
// as part of its entry, stays for as long as anybody reads that, and goes with it:
// to read it, hold the entry. No form of an entry is dropped alone, which in a full
// store, as any is, would be made again at once.

// Form returns form i of e, or nil.
func (e *Entry) Form(i int) *Entry {
	if b := e.beside.Load(); b != nil {
		return b.forms[i].Load()
	}
	return nil
}

// Plain reports whether e gets no further forms, since it is better off without.
func (e *Entry) Plain() bool {
	b := e.beside.Load()
	return b != nil && b.plain.Load()
}

// MakeForm returns a form of e, which is yet to be added to it.
func (e *Entry) MakeForm(head string, body []byte) *Entry {
	return &Entry{URL: e.URL, Head: head, Body: body, Status: e.Status, HTTPS: e.HTTPS, Flags: e.Flags &^ Codable, Born: e.Born, FreshUntil: e.FreshUntil}
}

// SetForm gives e a form before Add.
func (e *Entry) SetForm(i int, form *Entry) { e.besideLocked().forms[i].Store(form) }

// SetPlain says of e before Add that it is better off without forms.
func (e *Entry) SetPlain() { e.besideLocked().plain.Store(true) }

// AddForm adds a form to e, which is stored, and gives back what was reserved for it.
// It reports whether there is room, and e still stored.
func (s *Store) AddForm(e *Entry, i int, form *Entry, reserved int64) bool {
	n := form.formCost()
	s.mu.Lock()
	defer s.unlock()
	s.used -= reserved
	if !s.makeRoomLocked(n) || !s.storedLocked(e) { // it may have made room itself
		return false
	}
	b := e.besideLocked()
	at := &b.forms[i]
	if b.plain.Load() || at.Load() != nil { // what has been said to be so stays so
		return false
	}
	s.growLocked(e, n)
	at.Store(form)
	s.forms++
	s.formBytes += n
	return true
}

// StayPlain says that e is better off without forms, or further ones.
func (s *Store) StayPlain(e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.storedLocked(e) {
		e.besideLocked().plain.Store(true)
	}
}

// countFormsLocked counts the forms of e, which is stored from now on, or no more.
func (s *Store) countFormsLocked(e *Entry, sign int) {
	b := e.beside.Load()
	if b == nil {
		return
	}
	for i := range b.forms {
		if f := b.forms[i].Load(); f != nil {
			s.forms += sign
			s.formBytes += int64(sign) * f.formCost()
		}
	}
}

// formOverhead is what a form takes beside its texts and body: itself, and a share of
// what stands beside its entry.
const formOverhead = 192 + 48

// formCost returns what a form takes of the heap, in bytes.
func (e *Entry) formCost() int64 {
	return formOverhead + Sized(len(e.Head)) + Sized(cap(e.Body))
}
