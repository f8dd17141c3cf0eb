#!/usr/bin/env python3
import sys
print("tool", *sys.argv[1:])
sys.exit(3 if "fail" in sys.argv else 0)
