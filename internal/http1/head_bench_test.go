package http1

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// heads are those that are measured.
var heads = []struct{ name, text string }{
	{"bare", "GET /product/7 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"},
	{"browser", browserHead},
	{"60 fields", "GET / HTTP/1.1\r\nHost: a\r\n" + func() string {
		var b strings.Builder
		for i := range 59 {
			fmt.Fprintf(&b, "X-Some-Field-%d: some value of it\r\n", i)
		}
		return b.String()
	}() + "\r\n"},
}

func BenchmarkParseRequest(b *testing.B) {
	for _, head := range heads {
		b.Run(head.name, func(b *testing.B) {
			in := []byte(head.text)
			lim := Limits{Target: 8000, Size: 32 << 10, Fields: 256, Cookies: 512}
			var h Head
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if n, err := h.ParseRequest(in, &lim); n != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHostile parses heads of 32 KiB that were made to cost much, whose time a
// byte is to be about that of others.
func BenchmarkHostile(b *testing.B) {
	const n = 32 << 10
	for name, text := range map[string]string{
		"target":     "GET /" + strings.Repeat("%20", n/3) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"fields":     "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X:\r\n", n/4) + "\r\n",
		"cookies":    "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat(";", n) + "\r\n\r\n",
		"options":    "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", n/2) + "\r\n\r\n",
		"tabs":       "GET / HTTP/1.1\r\nHost: a\r\nX: y" + strings.Repeat("\t", n) + "y\r\n\r\n",
		"long names": "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("Content-Length-And-More-Of-It: y\r\n", n/35) + "\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			in := []byte(text)
			var h Head
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if n, err := h.ParseRequest(in, &Limits{}); n != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, head := range heads {
		b.Run(head.name, func(b *testing.B) {
			in := []byte(head.text)
			var h Head
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if n, err := h.ParseRequest(in, &Limits{}); n != len(in) {
					b.Fatal(err)
				}
				if _, err := h.Request(ctx, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(head.name+", net_http", func(b *testing.B) {
			in := bytes.NewReader(nil)
			br := bufio.NewReader(in)
			b.ReportAllocs()
			for b.Loop() {
				in.Reset([]byte(head.text))
				br.Reset(in)
				if _, err := http.ReadRequest(br); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const answerHead = "HTTP/1.1 200 OK\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nServer: Apache\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n" +
	"Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\nX-Powered-By: PHP/8.3\r\nKeep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\n\r\n"

func BenchmarkParseResponse(b *testing.B) {
	in := []byte(answerHead)
	var h Head
	r := &http.Request{Method: "GET"}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if n, err := h.ParseResponse(in, false, &Limits{}); n != len(in) {
				b.Fatal(err)
			}
		}
	})
	b.Run("response", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if n, err := h.ParseResponse(in, false, &Limits{}); n != len(in) {
				b.Fatal(err)
			}
			h.Response(r, nil)
		}
	})
	b.Run("net_http", func(b *testing.B) {
		src := bytes.NewReader(nil)
		br := bufio.NewReader(src)
		b.ReportAllocs()
		for b.Loop() {
			src.Reset(in)
			br.Reset(src)
			if _, err := http.ReadResponse(br, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBody(b *testing.B) {
	text := strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 64) + "0\r\n\r\n"
	h := Head{Length: -1}
	src := strings.NewReader(text)
	var buf Buffer
	var body Body
	p := make([]byte, 32<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		src.Reset(text)
		buf.Reset(src)
		body.Reset(&buf, &h)
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{&body}, p); n != 64<<10 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAppendHeader(b *testing.B) {
	h := http.Header{}
	for _, name := range []string{"Content-Type", "Cache-Control", "Age", "Etag", "Vary", "Last-Modified", "X-Frame-Options", "Cache-Status"} {
		h[name] = []string{"some value of it"}
	}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = AppendHeader(AppendStatus(out[:0], 1, 200), h, "Connection", "Content-Length")
	}
}

// BenchmarkDoPage is a whole exchange, its server doing next to nothing.
func BenchmarkDoPage(b *testing.B) {
	page := []byte(answerHead + strings.Repeat("x", 1024))
	cl := New(func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			p := make([]byte, 4<<10)
			for {
				if _, err := there.Read(p); err != nil { // a request is one write
					return
				}
				if _, err := there.Write(page); err != nil {
					return
				}
			}
		}()
		return here, nil
	})
	defer cl.CloseIdleConnections()
	p := make([]byte, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		c := call("GET", "/product/7?color=red")
		c.Wait, c.Idle = time.Minute, time.Minute
		res, err := cl.Do(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{res.Body}, p); n != 1024 || err != nil {
			b.Fatal(n, err)
		}
	}
}
