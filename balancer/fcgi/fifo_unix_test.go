//go:build unix

package fcgi

import (
	"net/http/httptest"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// TestAPipeIsNoFile: to open one would wait for who writes it.
func TestAPipeIsNoFile(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"index.php": ""})
	for _, name := range []string{"pipe", "pipe.php"} {
		if err := syscall.Mkfifo(filepath.Join(root, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	site, err := New(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	site.Files(other).ServeHTTP(w, httptest.NewRequest("GET", "/pipe", nil))
	if w.Body.String() != "next" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if run, _ := site.findNow(urlOf(t, "/pipe.php")); run.script != "/index.php" {
		t.Errorf("%+v", run)
	}
}
