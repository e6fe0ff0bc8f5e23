package sqlprobe

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// Redis is a probe for Redis and Valkey, in its ROLE: a master is a primary,
// a slave a replica, which is behind by the time since it lost its link. Each
// probe has a connection of its own. Set its fields before use.
type Redis struct {
	User     string // empty: the default user
	Password string // empty: none is sent
}

// Probe implements [health.Probe].
func (p *Redis) Probe(ctx context.Context, t health.Target) (health.Result, error) {
	conn, err := t.Dial(ctx, nil)
	if err != nil {
		return health.Result{}, fmt.Errorf("sqlprobe: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	commands := [][]string{{"ROLE"}, {"INFO"}, {"QUIT"}}
	if p.Password != "" {
		commands = append([][]string{{"AUTH", cmp.Or(p.User, "default"), p.Password}}, commands...)
	}
	var out []byte
	for _, c := range commands {
		out = appendCommand(out, c...)
	}
	asked := time.Now()
	_, unsent := conn.Write(out) // one who refuses may have closed by then, and yet have said why
	r := bufio.NewReader(conn)
	answers := make([]any, len(commands)-1) // that to QUIT may be cut off
	for i := range answers {
		if answers[i], err = readAnswer(r, 0); err == nil {
			continue
		}
		if i > 0 && isError(answers[i-1]) {
			return redisRefused(answers[i-1].(redisError))
		}
		return health.Result{}, fmt.Errorf("sqlprobe: %s: %w", commands[i][0], cmp.Or(unsent, err))
	}
	var auth any
	if p.Password != "" {
		auth, answers = answers[0], answers[1:]
	}
	refused, ok := auth.(redisError)
	if ok && isError(answers[0]) {
		return redisRefused(refused)
	}
	res, err := redisRole(asked, time.Now(), answers[0], answers[1])
	if ok && err == nil { // the server asks for no password
		res.Note += ", AUTH: " + string(refused)
	}
	return res, err
}

func isError(answer any) bool {
	_, ok := answer.(redisError)
	return ok
}

// redisRefused says what an error means. One that loads its data serves nobody:
// it has just begun. Others are there and turn the probe away: NOAUTH,
// WRONGPASS, NOPERM, BUSY, ERR max number of clients reached.
func redisRefused(err redisError) (health.Result, error) {
	if strings.HasPrefix(string(err), "LOADING") {
		return health.Result{State: health.Degraded, Note: string(err)}, nil
	}
	return health.Result{}, fmt.Errorf("sqlprobe: %w: %s", health.ErrTurnedAway, err)
}

// redisRole reads the answers to ROLE and INFO.
func redisRole(asked, answered time.Time, role, info any) (health.Result, error) {
	if err, ok := role.(redisError); ok {
		return redisRefused(err)
	}
	list, _ := role.([]any)
	if len(list) == 0 {
		return health.Result{}, fmt.Errorf("sqlprobe: ROLE answered %v: want an array", role)
	}
	about := parseInfo(info)
	res := health.Result{State: health.Up, Started: started(asked, answered, about["uptime_in_seconds"]), Instance: about["run_id"]}
	switch list[0] {
	case "master":
		res.Role, res.Note = health.RolePrimary, "primary"
		if len(list) > 1 {
			res.Note += fmt.Sprintf(" at %v", list[1])
		}
	case "slave", "replica": // as Redis has it, and others
		res.Role, res.Note = health.RoleReplica, "replica"
		state := "?"
		if len(list) > 3 {
			state = fmt.Sprint(list[3])
		}
		if state != "connected" {
			res.Note += ", " + state
			res.Lag = math.MaxInt64
			if down, err := strconv.ParseInt(about["master_link_down_since_seconds"], 10, 64); err == nil && down >= 0 {
				res.Lag = time.Duration(down) * time.Second
			}
		}
	default:
		return health.Result{State: health.Degraded, Note: fmt.Sprintf("role %v: want master or slave", list[0])}, nil
	}
	return res, nil
}

// parseInfo reads the lines of INFO; an answer that is none has none.
func parseInfo(info any) map[string]string {
	text, _ := info.(string)
	out := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[name] = value
		}
	}
	return out
}

// appendCommand appends a command as RESP has it.
func appendCommand(out []byte, args ...string) []byte {
	out = fmt.Appendf(out, "*%d\r\n", len(args))
	for _, a := range args {
		out = fmt.Appendf(out, "$%d\r\n%s\r\n", len(a), a)
	}
	return out
}

// redisError is an answer that is an error.
type redisError string

// The limits of an answer, far beyond any that is meant.
const (
	maxBulk  = 1 << 20
	maxArray = 4096
	maxDepth = 4
)

var errAnswer = errors.New("not an answer of Redis")

// readAnswer reads an answer in RESP 2: a string, an int64, a list, an error
// of the server's, or nil.
func readAnswer(r *bufio.Reader, depth int) (any, error) {
	kind, text, err := readLine(r)
	if err != nil {
		return nil, err
	}
	switch kind {
	case '+':
		return text, nil
	case '-':
		return redisError(text), nil
	case ':':
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errAnswer
		}
		return n, nil
	case '$':
		return readBulk(r, text)
	case '*':
		return readList(r, text, depth)
	}
	return nil, errAnswer
}

// readLine reads an answer's first line: of what kind it is, and the rest.
func readLine(r *bufio.Reader) (kind byte, text string, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = errAnswer
		}
		return 0, "", err
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || text == "" {
		return 0, "", errAnswer
	}
	return text[0], text[1:], nil
}

// length reads how long something is, -1 if it is nil.
func length(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 || n > most {
		return 0, errAnswer
	}
	return n, nil
}

// readBulk reads a string, whose length is text.
func readBulk(r *bufio.Reader, text string) (any, error) {
	n, err := length(text, maxBulk)
	if n < 0 || err != nil {
		return nil, err
	}
	buf := make([]byte, n+2)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	if string(buf[n:]) != "\r\n" {
		return nil, errAnswer
	}
	return string(buf[:n]), nil
}

// readList reads answers, of which there are as many as text says.
func readList(r *bufio.Reader, text string, depth int) (any, error) {
	n, err := length(text, maxArray)
	if n < 0 || err != nil {
		return nil, err
	}
	if depth >= maxDepth {
		return nil, errAnswer
	}
	list := make([]any, 0, min(n, 16))
	for range n {
		v, err := readAnswer(r, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
