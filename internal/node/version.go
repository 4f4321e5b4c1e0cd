package node

import "runtime/debug"

// Version is set when a release is built.
var Version = ""

// BuildVersion is Version, or what the Go tool knows of the build.
func BuildVersion() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
