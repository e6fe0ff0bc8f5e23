package memory

// tagLocked puts e into the list of each of its tags.
func (s *Store) tagLocked(e *Entry) {
	if e.More == nil || len(e.More.Tags) == 0 {
		return
	}
	e.More.places = make([]int32, len(e.More.Tags))
	for i, tag := range e.More.Tags {
		list := s.tags[tag]
		e.More.places[i] = int32(len(list))
		s.tags[tag] = append(list, e)
	}
}

// untagLocked takes e out of the lists: the last of each takes its place.
func (s *Store) untagLocked(e *Entry) {
	if e.More == nil {
		return
	}
	for i, tag := range e.More.Tags {
		list := s.tags[tag]
		last := len(list) - 1
		moved := list[last]
		place := e.More.places[i]
		list[place] = moved
		for j, t := range moved.More.Tags {
			if t == tag {
				moved.More.places[j] = place
			}
		}
		list[last] = nil
		if last == 0 {
			delete(s.tags, tag)
			continue
		}
		s.tags[tag] = list[:last]
	}
}
