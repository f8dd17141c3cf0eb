#!/bin/sh
case "$1" in
--list) echo '{"cloud": {"hosts": ["c1", "c2"], "vars": {"from": "script"}}, "_meta": {"hostvars": {"c1": {"zone": "a"}, "c2": {"zone": "b"}}}}';;
*) echo '{}';;
esac
