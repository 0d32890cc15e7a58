-- Prints the version of UTM without starting it.
tell application "System Events" to return version of application "UTM"
