package http2

import "sync"

// A Block is in what pieces a body is held and moved: as one frame brings it, as a rule.
type Block [MinFrame]byte

var blocks = sync.Pool{New: func() any { return new(Block) }}

// GetBlock returns a block for its caller alone, with whatever is in it.
func GetBlock() *Block { return blocks.Get().(*Block) }

// PutBlock gives b to others.
func PutBlock(b *Block) { blocks.Put(b) }

// Pieces are what has come of a body and was not read yet. The zero Pieces are none. They
// are guarded by whoever has them.
type Pieces struct {
	list []piece
	n    int
}

type piece struct {
	mem  *Block
	r, w int // what is unread
}

// Len is how many bytes there are.
func (q *Pieces) Len() int { return q.n }

// Put puts a copy of p behind what there is.
func (q *Pieces) Put(p []byte) {
	q.n += len(p)
	for len(p) > 0 {
		n := len(q.list)
		if n == 0 || q.list[n-1].w == len(Block{}) {
			q.list = append(q.list, piece{mem: GetBlock()})
			n++
		}
		last := &q.list[n-1]
		m := copy(last.mem[last.w:], p)
		last.w += m
		p = p[m:]
	}
}

// Take takes what fits into p, and returns how much that was.
func (q *Pieces) Take(p []byte) (n int) {
	for n < len(p) && len(q.list) > 0 {
		first := &q.list[0]
		m := copy(p[n:], first.mem[first.r:first.w])
		n += m
		if first.r += m; first.r == first.w {
			PutBlock(first.mem)
			q.list[0] = piece{}
			q.list = q.list[1:]
		}
	}
	q.n -= n
	return n
}

// Drop takes all there is, for nobody, and returns how much that was.
func (q *Pieces) Drop() int {
	n := q.n
	for i := range q.list {
		PutBlock(q.list[i].mem)
	}
	*q = Pieces{}
	return n
}
