package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/postroad/postroad/internal/bounce"
)

func main() {
	f, _ := os.Open(os.Args[1])
	sc := bufio.NewScanner(f)
	r := bounce.Default()
	n, ok := 0, 0
	for sc.Scan() {
		want, line, _ := strings.Cut(sc.Text(), "|")
		in, _ := bounce.ParseSample(line)
		v := r.Reply(in)
		n++
		got := string(v.Class)
		if got == "network" || got == "expired" {
			got = "transient-system"
		}
		if strings.Contains(","+want+",", ","+got+",") {
			ok++
		} else {
			fmt.Println(want, "->", got, v.Rule, "|", line)
		}
	}
	fmt.Println(ok, n)
}
