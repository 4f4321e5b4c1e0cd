//go:build !linux

package rig

import "syscall"

// procAttr gives the child a process group of its own.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
