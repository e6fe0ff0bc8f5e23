package memory

// ghosts remembers what left a queue lately: 8 bytes each, in a table of sets
// of four, the oldest of a set making room.
type ghosts struct {
	sets [][4]ghost
	gone int64 // bytes that have left the queue, ever
}

type ghost struct {
	print uint32
	left  uint32 // gone / ghostUnit when it left
}

const ghostUnit = 1 << 10

// add remembers key. There may be up to about count ghosts.
func (g *ghosts) add(key uint64, size int64, count int) {
	g.gone += size
	if need := count / 4; len(g.sets) < need || g.sets == nil {
		g.grow(max(16, len(g.sets)*2))
	}
	set := g.set(key)
	oldest := 0
	for i := range set {
		if set[i].print == 0 {
			oldest = i
			break
		}
		if int32(set[i].left-set[oldest].left) < 0 {
			oldest = i
		}
	}
	set[oldest] = ghost{print(key), uint32(g.gone / ghostUnit)}
}

// take reports whether key is a ghost, and how many bytes have left after it,
// and forgets it.
func (g *ghosts) take(key uint64) (age int64, ok bool) {
	if g.sets == nil {
		return 0, false
	}
	set := g.set(key)
	for i := range set {
		if set[i].print == print(key) {
			age := int64(uint32(g.gone/ghostUnit)-set[i].left) * ghostUnit
			set[i] = ghost{}
			return age, true
		}
	}
	return 0, false
}

// grow doubles the table; the print has the bits that tell the halves apart.
func (g *ghosts) grow(n int) {
	old := g.sets
	g.sets = make([][4]ghost, n)
	for i := range old {
		for _, x := range old[i] {
			if x.print != 0 {
				set := &g.sets[int(x.print)&(n-1)]
				for j := range set {
					if set[j].print == 0 {
						set[j] = x
						break
					}
				}
			}
		}
	}
}

func (g *ghosts) set(key uint64) *[4]ghost { return &g.sets[int(print(key))&(len(g.sets)-1)] }

func print(key uint64) uint32 { return uint32(key) | 1<<31 }
