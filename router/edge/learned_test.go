package edge

// Learned returns how many answers are remembered.
func Learned(s *Server) int { return s.memos.Len() }
