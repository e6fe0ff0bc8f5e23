package cache

import (
	"errors"
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
)

// An answer is what a fetch brought, as far as its header says. A pure function
// makes it, and it is published once, to all who wait.
type answer struct {
	kind   kind
	status int
	why    string // why it is not stored, or what it covers
	cause  error  // of an error of the tier's own

	mark   time.Duration // for so long nobody need wait for the like; 0: not known
	unmark bool          // others may wait for the like again

	retention Retention // private, or shared until there is no room: what is taken off

	// shared and modified: what others may use.
	entry     *memory.Entry // shared: as it will be stored; modified: as updated; found: what is stored
	header    http.Header   // shared: as all get it
	own       http.Header   // shared: the same for the leader, if some of it is for it only
	length    int64         // shared: of the body; -1 if unknown
	aged      bool          // shared: it came with an Age
	completes bool          // shared: the body goes on where what is stored ends
	forOne    bool          // modified: what the 304 said is for the leader only
	merged    *memory.Entry // modified: as the leader gets it, if that is not entry
	renewed   *memory.Entry // modified: what is stored at once, or nil

	held *memory.Entry // modified and covered: what was stored before, with its body
}

// A kind is what an answer turned out to be.
type kind uint8

const (
	pending  kind = iota
	shared        // it is being stored; everybody reads along
	private       // not to be stored: it is its leader's alone
	modified      // a 304 for what is stored: entry has been updated
	covered       // an error in whose place the stale entry is served
	failed        // an error of the tier's own, the same for everybody
	unlike        // an answer to the URL that stood for the leader's, of which it says nothing
	again         // a 304 for something else: to be asked without conditions
	found         // nothing was asked: it has been stored meanwhile
	closed        // nothing was asked: the cache is closed
)

// A response is what a backend has said of what it sends.
type response struct {
	request  *http.Request // as it was sent
	asked    time.Time     // when
	now      time.Time
	status   int
	header   http.Header
	cause    error // of an error of the tier's own
	unproven bool  // whether the body is whole will not be known
}

var (
	// errAborted ends a response whose end never came.
	errAborted = errors.New("cache: the response was cut off")
	// errNotTheRest ends the fetch of a rest that does not belong to the stored
	// beginning.
	errNotTheRest = errors.New("cache: not the rest of what is stored")
	// errUnlike ends the fetch of what does not answer who asked.
	errUnlike = errors.New("cache: nobody's answer")
)
