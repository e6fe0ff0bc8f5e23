package esi

import "bytes"

// maxTag is the longest tag in bytes. What a target may have fits twice.
const maxTag = 16 << 10

// A sink takes what a parser has found, in order. The bytes are its own for the call.
type sink interface {
	text(b []byte) error
	include(in include) error
	// malformed says that something is no ESI, although it begins so.
	malformed(what string)
}

// A parser finds ESI in what comes piece by piece, wherever that is cut. Each byte is
// looked at a fixed number of times, and no more than a tag is held back.
type parser struct {
	to    sink
	state state
	held  []byte // of what may be markup of ours
	quote byte   // in a tag: what closes the value that is open, or 0
	block bool   // between <!--esi and -->
	run   int    // how much has come of what ends the state, or the block
}

type state uint8

const (
	inText    state = iota
	inOpening       // held is how some markup begins
	inMark          // held is <!--, and perhaps some of esi
	inTag           // held is <esi: or </esi:, and more
	inComment
	inCDATA
	inRemove
)

// What may begin in a text.
var openings = [...]string{openTag, closeTag, openComment, openCDATA}

const (
	openTag     = "<esi:"
	closeTag    = "</esi:"
	openComment = "<!--"
	openCDATA   = "<![CDATA["
	openBlock   = "<!--esi"
	endRemove   = "</esi:remove"
)

// feed takes the next bytes.
func (p *parser) feed(b []byte) (err error) {
	for len(b) > 0 && err == nil {
		switch {
		case p.state == inText && p.block:
			b, err = p.inBlock(b)
		case p.state == inText:
			b, err = p.inText(b)
		case p.state == inOpening:
			b, err = p.inOpening(b)
		case p.state == inMark:
			b, err = p.inMark(b)
		case p.state == inTag:
			b, err = p.inTag(b)
		case p.state == inComment:
			b, err = p.verbatim(b, '-')
		case p.state == inCDATA:
			b, err = p.verbatim(b, ']')
		default:
			b = p.inRemove(b)
		}
	}
	return err
}

// end says that nothing follows.
func (p *parser) end() error {
	switch p.state {
	case inText:
		return p.dashes()
	case inTag:
		p.to.malformed("a tag that does not end")
		return p.release()
	case inOpening, inMark:
		return p.release()
	case inRemove:
		p.to.malformed("an esi:remove that does not end")
	}
	return nil
}

// release gives back what was held: it is text.
func (p *parser) release() error {
	p.state = inText
	return p.to.text(p.held)
}

// inText takes the text up to what may be markup.
func (p *parser) inText(b []byte) (rest []byte, err error) {
	from := 0
	for {
		i := bytes.IndexByte(b[from:], '<')
		if i < 0 {
			return nil, p.to.text(b)
		}
		if i += from; mayBegin(b[i:]) {
			return p.open(b, i)
		}
		from = i + 1
	}
}

// open takes the text before what may be markup, at i.
func (p *parser) open(b []byte, i int) (rest []byte, err error) {
	if i > 0 {
		err = p.to.text(b[:i])
	}
	p.held, p.state = append(p.held[:0], '<'), inOpening
	return b[i+1:], err
}

// mayBegin reports whether b, as far as it goes, is how some markup begins.
func mayBegin(b []byte) bool {
	if len(b) > 2 && b[1] != '!' && b[1] != 'e' && (b[1] != '/' || b[2] != 'e') {
		return false // as nearly always
	}
	for _, o := range openings {
		if n := min(len(o), len(b)); string(b[:n]) == o[:n] {
			return true
		}
	}
	return false
}

// inBlock does as inText, up to the block's end. Dashes are held back: two may be that.
func (p *parser) inBlock(b []byte) (rest []byte, err error) {
	if p.run > 0 {
		switch {
		case b[0] == '-' && p.run < 2:
			p.run++
			return b[1:], nil
		case b[0] == '-':
			return b[1:], p.to.text(b[:1])
		case b[0] == '>' && p.run == 2:
			p.block, p.run = false, 0
			return b[1:], nil
		}
		return b, p.dashes()
	}
	from := 0
	for {
		i := bytes.IndexAny(b[from:], "<-")
		if i < 0 {
			return nil, p.to.text(b)
		}
		switch i += from; {
		case b[i] == '-':
			if i > 0 {
				err = p.to.text(b[:i])
			}
			p.run = 1
			return b[i+1:], err
		case mayBegin(b[i:]):
			return p.open(b, i)
		}
		from = i + 1
	}
}

// dashes gives back those that were held.
func (p *parser) dashes() error {
	n := p.run
	if p.run = 0; n == 0 {
		return nil
	}
	return p.to.text([]byte("--")[:n])
}

// inOpening finds out what begins.
func (p *parser) inOpening(b []byte) (rest []byte, err error) {
	p.held = append(p.held, b[0])
	switch string(p.held) {
	case openTag, closeTag:
		p.state, p.quote = inTag, 0
	case openComment:
		p.state = inMark
	case openCDATA:
		p.run = 0
		err = p.release()
		p.state = inCDATA
	default:
		if !mayBegin(p.held) {
			p.held = p.held[:len(p.held)-1] // the last may begin something itself
			return b, p.release()
		}
	}
	return b[1:], err
}

// inMark finds out whether a comment is one of ours.
func (p *parser) inMark(b []byte) (rest []byte, err error) {
	n := len(p.held)
	switch {
	case n < len(openBlock) && b[0] == openBlock[n]:
		p.held = append(p.held, b[0])
		return b[1:], nil
	case n == len(openBlock) && isSpace(b[0]):
		p.state, p.block, p.run = inText, true, 0
		return b, nil
	}
	p.run = 0
	if n == len(openComment) {
		p.run = 2 // <!--> is whole
	}
	err = p.release()
	p.state = inComment
	return b, err
}

// verbatim takes what is not looked into, up to two of c and a >.
func (p *parser) verbatim(b []byte, c byte) (rest []byte, err error) {
	from := 0
	for {
		i := bytes.IndexByte(b[from:], '>')
		if i < 0 {
			p.run = p.trailing(b, c)
			return nil, p.to.text(b)
		}
		if i += from; p.trailing(b[:i], c) == 2 {
			p.state, p.run = inText, 0
			return b[i+1:], p.to.text(b[:i+1])
		}
		from = i + 1
	}
}

// trailing counts up to two of c at the end of what has come with b.
func (p *parser) trailing(b []byte, c byte) int {
	n := 0
	for n < 2 && n < len(b) && b[len(b)-1-n] == c {
		n++
	}
	if n == len(b) {
		n = min(2, n+p.run)
	}
	return n
}

// inTag takes a tag. No value holds a <, so that one which does not end is known
// by the next that begins.
func (p *parser) inTag(b []byte) (rest []byte, err error) {
	for i, c := range b {
		switch {
		case c == '<' || len(p.held) == maxTag:
			p.to.malformed("a tag that does not end")
			return b[i:], p.release()
		case p.quote != 0:
			if c == p.quote {
				p.quote = 0
			}
		case c == '"' || c == '\'':
			p.quote = c
		case c == '>':
			p.held, p.state = append(p.held, c), inText
			return b[i+1:], p.tag(string(p.held))
		}
		p.held = append(p.held, c)
	}
	return nil, nil
}

// tag does what a whole tag says.
func (p *parser) tag(raw string) error {
	t := readTag(raw)
	switch t.name {
	case "include":
		if t.closes {
			return nil
		}
		if in, ok := readInclude(t.attributes); ok {
			return p.to.include(in)
		}
		p.to.malformed("an esi:include without a src in quotes")
	case "remove":
		if !t.closes && !t.empty {
			p.state, p.run = inRemove, 0
		}
		return nil
	case "comment":
		return nil
	}
	return p.to.text(p.held)
}

// inRemove drops what is to be removed.
func (p *parser) inRemove(b []byte) (rest []byte) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case p.run == 0:
			next := bytes.IndexByte(b[i:], '<')
			if next < 0 {
				return nil
			}
			i, p.run = i+next, 1
		case p.run < len(endRemove) && c == endRemove[p.run]:
			p.run++
		case p.run == len(endRemove) && c == '>':
			p.state, p.run = inText, 0
			return b[i+1:]
		case p.run == len(endRemove) && isSpace(c):
		case c == '<':
			p.run = 1
		default:
			p.run = 0
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
