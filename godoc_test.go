package foretier

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A shelf is a package as go list knows it.
type shelf struct {
	ImportPath, Dir, Name string
	GoFiles               []string
}

// public returns the packages that others may import.
func public(t *testing.T) (all []shelf) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p shelf
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if p.Name != "main" && room != "" && !strings.Contains("/"+room, "/internal") && !within(room, "examples") {
			all = append(all, p)
		}
	}
}

// read returns what go doc shows of a package.
func (p shelf) read(t *testing.T) *doc.Package {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	d, err := doc.NewFromFiles(set, files, p.ImportPath)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// comments yields each exported name's comment, under its name.
func comments(d *doc.Package, yield func(name, text string)) {
	yield("package", d.Doc)
	values := func(groups []*doc.Value) {
		for _, group := range groups {
			for _, spec := range group.Decl.Specs {
				s := spec.(*ast.ValueSpec)
				yield(s.Names[0].Name, group.Doc+s.Doc.Text()+s.Comment.Text())
			}
		}
	}
	functions := func(of string, list []*doc.Func) {
		for _, f := range list {
			yield(of+f.Name, f.Doc)
		}
	}
	values(d.Consts)
	values(d.Vars)
	functions("", d.Funcs)
	for _, typ := range d.Types {
		yield(typ.Name, typ.Doc)
		values(typ.Consts)
		values(typ.Vars)
		functions("", typ.Funcs)
		functions(typ.Name+".", typ.Methods)
	}
}

// TestDocumentation: every exported name says what it is, and what a comment links to is
// there. A link that leads nowhere is shown in its brackets.
func TestDocumentation(t *testing.T) {
	brackets := regexp.MustCompile(`\[[A-Za-z_][\w./]*\]`)
	for _, p := range public(t) {
		d := p.read(t)
		comments(d, func(name, text string) {
			if text == "" {
				t.Errorf("%s: %s has no comment", p.ImportPath, name)
			}
			for _, block := range d.Parser().Parse(text).Content {
				for _, words := range plain(block) {
					if link := brackets.FindString(words); link != "" {
						t.Errorf("%s: %s: %s leads nowhere", p.ImportPath, name, link)
					}
				}
			}
		})
	}
}

// plain returns the text of a block that is neither code nor a link.
func plain(block comment.Block) (all []string) {
	switch b := block.(type) {
	case *comment.Paragraph:
		for _, words := range b.Text {
			if s, ok := words.(comment.Plain); ok {
				all = append(all, string(s))
			}
		}
	case *comment.List:
		for _, item := range b.Items {
			for _, block := range item.Content {
				all = append(all, plain(block)...)
			}
		}
	}
	return all
}

// TestTheMapShowsEveryPackage: who reads the module's own documentation learns of all.
func TestTheMapShowsEveryPackage(t *testing.T) {
	root := shelf{ImportPath: module, Dir: ".", GoFiles: []string{"doc.go"}}.read(t)
	for _, p := range public(t) {
		if !strings.Contains(root.Doc, "["+p.ImportPath+"]") {
			t.Errorf("doc.go does not name %s", p.ImportPath)
		}
	}
}
