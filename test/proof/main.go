// Command proof measures what a full queue costs a real `postroad serve`: it fills it with deferred deliveries over many
// domains, all of which were tried once and answered with 451, ends the process, starts it again, and holds three
// figures against their goals: how long until it is ready, its memory when idle, its processor time when idle.
//
//	go run ./test/proof -postroad bin/postroad -deliveries 100000 -domains 10000
//
// It prints one line of a Markdown table for docs/proof.md, and fails where a goal is missed.
//
// # Not here
//
// The proofs of the spool alone: its own tests with POSTROAD_PROOF=1. Speed: test/bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	o := options{goals: fullGoals}
	binary := flag.String("postroad", "bin/postroad", "the program")
	flag.IntVar(&o.deliveries, "deliveries", 100_000, "deferred deliveries")
	flag.IntVar(&o.domains, "domains", 10_000, "recipient domains they are spread over")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, o); err != nil {
		fmt.Fprintln(os.Stderr, "proof: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, o options) (err error) {
	if o.binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "postroad-proof-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	f, err := measure(ctx, o)
	if err != nil {
		return err
	}
	fmt.Println(f)
	return f.judge(o.goals)
}
