package smtpserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// swallow is a session that reads and forgets.
type swallow struct{ p []byte }

func (swallow) Mail(context.Context, mail.Address, MailOptions) error { return nil }
func (swallow) Rcpt(context.Context, mail.Address, RcptOptions) error { return nil }
func (swallow) Reset()                                                {}
func (swallow) Close()                                                {}
func (s swallow) Data(_ context.Context, r io.Reader) (smtp.Reply, error) {
	for {
		if _, err := r.Read(s.p); err == io.EOF {
			return smtp.Reply{}, nil
		} else if err != nil {
			return smtp.Reply{}, err
		}
	}
}

var benchBody = strings.Repeat(strings.Repeat("x", 74)+"\r\n", 54) // 4 KiB

func benchServer(b *testing.B) string {
	addr, _ := start(b, Options{Handler: func(context.Context, *ConnInfo) (Session, error) {
		return swallow{make([]byte, 8<<10)}, nil
	}})
	return addr
}

// readReplies reads n one-line replies.
func readReplies(b *testing.B, br *bufio.Reader, n int) {
	for range n {
		line, err := br.ReadSlice('\n')
		if err != nil || line[0] > '3' {
			b.Fatalf("%q, %v", line, err)
		}
	}
}

func write(b *testing.B, w io.Writer, p []byte) {
	if _, err := w.Write(p); err != nil {
		b.Fatal(err)
	}
}

var (
	benchEnvelope = []byte("MAIL FROM:<sender@example.org> SIZE=4096\r\nRCPT TO:<recipient@example.com>\r\nDATA\r\n")
	benchContent  = []byte(benchBody + ".\r\n")
)

// Client and server share the processors: the figure is for both.
func BenchmarkKept(b *testing.B) {
	addr := benchServer(b)
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = nc.Close() }()
		br := bufio.NewReader(nc)
		write(b, nc, []byte("HELO x\r\n"))
		readReplies(b, br, 2)
		for pb.Next() {
			write(b, nc, benchEnvelope)
			readReplies(b, br, 3)
			write(b, nc, benchContent)
			readReplies(b, br, 1)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkKeptLockStep(b *testing.B) {
	addr := benchServer(b)
	b.SetParallelism(4)
	commands := strings.SplitAfter(string(benchEnvelope), "\n")
	b.RunParallel(func(pb *testing.PB) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = nc.Close() }()
		br := bufio.NewReader(nc)
		write(b, nc, []byte("HELO x\r\n"))
		readReplies(b, br, 2)
		for pb.Next() {
			for _, c := range commands[:3] {
				write(b, nc, []byte(c))
				readReplies(b, br, 1)
			}
			write(b, nc, benchContent)
			readReplies(b, br, 1)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkNewConnections(b *testing.B) {
	addr := benchServer(b)
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		br := bufio.NewReader(nil)
		for pb.Next() {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			br.Reset(nc)
			readReplies(b, br, 1)
			write(b, nc, []byte("HELO x\r\n"))
			readReplies(b, br, 1)
			write(b, nc, benchEnvelope)
			readReplies(b, br, 3)
			write(b, nc, benchContent)
			readReplies(b, br, 1)
			write(b, nc, []byte("QUIT\r\n"))
			readReplies(b, br, 1)
			_ = nc.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkEngine is the server alone: no sockets, everything the client says is there.
func BenchmarkEngine(b *testing.B) {
	s, err := New(Options{
		Hostname: "mx.example.net", Logger: quiet, MaxJunk: 1 << 60,
		Handler: func(context.Context, *ConnInfo) (Session, error) { return swallow{make([]byte, 8<<10)}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	v := &service{Server: s, o: &s.o, ctx: b.Context(), conns: map[*conn]struct{}{}}
	one := append(append([]byte{}, benchEnvelope...), benchContent...)
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	b.ResetTimer()
	v.handle(&silent{canned: canned{in: io.MultiReader(strings.NewReader("HELO x\r\n"), &repeat{one, b.N, 0})}})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// silent throws away what the server says.
type silent struct{ canned }

func (*silent) Write(p []byte) (int, error) { return len(p), nil }

// repeat gives p n times.
type repeat struct {
	p  []byte
	n  int
	at int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.p[r.at:])
	if r.at += n; r.at == len(r.p) {
		r.at = 0
		r.n--
	}
	return n, nil
}
