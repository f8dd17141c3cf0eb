"""Groups, by the programs of shadow and of libuser."""

CASES = []
def case(name, setup, *steps, **more):
    CASES.append(dict(name=name, setup=setup, steps=list(steps), **more))

CH = {'check': True, 'diff': True}
g = lambda **k: ('group', k)
gc = lambda **k: ('group', k, CH)
case('group basics', '',
     gc(name='one'),
     g(name='one'),
     g(name='one'),
     gc(name='one', gid=4000),
     g(name='one', gid=4000),
     g(name='one', gid=4000),
     gc(name='one', state='absent'),
     g(name='one', state='absent'),
     g(name='one', state='absent'))
case('group options', 'useradd -U joe',
     g(name='sys', system=True),
     g(name='a', gid=4100),
     g(name='b', gid=4100),
     g(name='b', gid=4100, non_unique=True),
     g(name='a', gid=4200),
     g(name='a', gid='5', non_unique='yes'),
     g(name='c', gid_min=7000, gid_max=7005),
     g(name='c2', gid_min=7000),
     g(name='joe', state='absent'),
     g(name='joe', state='absent', force=True),
     g(name='x', non_unique=True),
     g(name='Bad Name'),
     g(),
     g(name='z', gid='q'),
     g(name='z', state='there'),
     g(name='x', foo=1))
case('group local', '',
     g(name='l', local=True),
     g(name='l', local=True),
     g(name='l', local=True, gid=4100),
     g(name='m', local=True, gid=4100),
     g(name='l', local=True, gid=4101),
     g(name='l', local=True, gid_min=3),
     g(name='l', local=True, gid_max=3),
     g(name='l', local=True, force=True),
     g(name='l', local=True, state='absent'),
     g(name='l', local=True, state='absent'),
     gc(name='n', local=True), 'rm /etc/group', g(name='n', local=True))
case('group of busybox', r'''printf 'ID="alpine"\n' > /etc/os-release
for p in addgroup delgroup; do cat > /usr/sbin/$p <<'X'
#!/bin/sh
own=${0##*/}
echo "$own $*" >> /tmp/fake
for last; do :; done
case $own in addgroup) groupadd $last;; delgroup) groupdel $last;; esac
X
chmod +x /usr/sbin/$p; done''',
     gc(name='a'),
     g(name='a'),
     g(name='a'),
     g(name='b', gid=4100, system=True, gid_min=3, gid_max=5, non_unique=True),
     gc(name='a', gid=4500),
     g(name='a', gid=4500),
     g(name='a', gid=4500),
     g(name='a', gid=5),
     g(name='a', state='absent', force=True),
     g(name='a', state='absent'),
     g(name='a', state='absent'))
