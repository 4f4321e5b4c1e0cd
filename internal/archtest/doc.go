// Package archtest holds the house to its plan: which floor a room is on, which rooms may know each other, that every
// package says what it is, and that every RFC the code leans on is in the register. It has tests only.
//
// Its door is floors, the table of rooms.
//
// # Not here
//
// What a room does: its own package comment. Formatting and vetting: `make check`.
package archtest
