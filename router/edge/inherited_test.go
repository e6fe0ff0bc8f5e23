package edge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// The child of TestInherited serves on what it was passed, those of TestHandOver likewise.
func TestMain(m *testing.M) {
	switch os.Getenv("EDGE_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "inherits":
		inherits()
	default:
		succeeds(os.Getenv("EDGE_TEST_CHILD"))
	}
}

func inherits() {
	os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid())) // as the service manager does between fork and exec
	ls, err := edge.Inherited()
	if again, _ := edge.Inherited(); err != nil || len(ls) != 1 || again != nil || os.Getenv("LISTEN_FDS") != "" {
		fmt.Println("listeners:", ls, again, err)
		os.Exit(1)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "inherited") })
	srv, err := edge.New(h, edge.Options{Listener: ls[0], Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = srv.Run(ctx)
	}
	fmt.Println(err)
}

func TestInherited(t *testing.T) {
	if ls, err := edge.Inherited(); ls != nil || err != nil {
		t.Errorf("without a service manager: %v, %v", ls, err)
	}
	l := testkit.Listen(t)
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "EDGE_TEST_CHILD=inherits", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	client := http.Client{Timeout: 30 * time.Second}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "inherited" {
		t.Errorf("got %q", body)
	}
}
