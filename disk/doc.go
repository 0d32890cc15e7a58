// Package disk reads a machine's disk from the host: the layers of its image
// files (qcow2 and raw), its partition table, and its ext2, ext3 and ext4 file
// systems, journal included. It never writes, needs no root and no mount.
//
// The guest may have written anything to its disk: every number that is read
// from it is checked, and counts, sizes, depths and loops are bounded. It knows
// no machine, no guest and no capture.
package disk
