package rig

import "syscall"

// procAttr ties the child to us: a process group of its own, and death when we die.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
