// Package config is postroad.toml: what needs a restart to change. It knows the settings, their defaults and what is
// wrong with a value; it is plain data and opens nothing but the file it reads.
//
// Its door is Load. Default is what runs without a file.
//
// # Not here
//
// Accounts, routes and everything else that changes while running: platform and manage (`postroad apply`).
package config
