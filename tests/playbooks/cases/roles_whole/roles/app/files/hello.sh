#!/bin/sh
echo "hello $1 from $(basename "$0" | sed 's/.*hello/hello/')"
