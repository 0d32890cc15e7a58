#!/bin/sh
# Prints what is in stock.

# TODO: read the shelf number too
cut -d, -f1,3 "$1" # XXX: commas inside of names
