package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// proxy hands on what a node serves. It notes what was asked for, and alters the body of one path.
type proxy struct {
	*httptest.Server
	mutex sync.Mutex
	// Bodies by path.
	seen map[string][]byte
}

// newProxy alters what is served at path, unless path is empty. It must be closed.
func newProxy(node, path string, alter func([]byte) []byte) *proxy {
	p := &proxy{seen: map[string][]byte{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := http.Get(node + r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		p.mutex.Lock()
		p.seen[r.URL.Path] = body
		p.mutex.Unlock()
		if path != "" && r.URL.Path == path {
			body = alter(append([]byte(nil), body...))
		}
		w.WriteHeader(answer.StatusCode)
		if _, err := w.Write(body); err != nil {
			return
		}
	}))
	return p
}

// flipAt flips one bit in the byte at the place of hundredths of the length.
func flipAt(hundredths int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(len(b)-1)*hundredths/100] ^= 1
		return b
	}
}

// hurtLine alters one character of the n-th line of a text, from 0, at three quarters of its length: in base64 that is
// another value, in a line of a signature it is in the signature itself.
func hurtLine(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n >= len(lines) || lines[n] == "" {
		panic(fmt.Sprintf("there is no line %d to alter", n))
	}
	line := []byte(lines[n])
	at := len(line) * 3 / 4
	switch {
	case line[at] == 'A' || line[at] == '1':
		line[at]++
	case line[at] >= '0' && line[at] <= '9':
		line[at] = '1'
	default:
		line[at] = 'A'
	}
	lines[n] = string(line)
	return strings.Join(lines, "\n")
}

// hurtHex alters the byte in the middle.
func hurtHex(text string) string {
	b := []byte(text)
	at := len(b) / 2
	if b[at] == '0' {
		b[at] = '1'
	} else {
		b[at] = '0'
	}
	return string(b)
}
