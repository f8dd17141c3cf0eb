"""Services of scripts of init, systemd, OpenRC, upstart, chkconfig and insserv: programs that write down how they are called stand for all that does not run here."""

CASES = []
def case(name, setup, *steps, **more):
    CASES.append(dict(name=name, setup=setup, steps=list(steps), **more))

CH = {'check': True, 'diff': True}
s = lambda **k: ('service', k)
sc = lambda **k: ('service', k, CH)
v = lambda **k: ('sysvinit', k)
vc = lambda **k: ('sysvinit', k, CH)
SCRIPT = r'''mkdir -p /run/fake; cat > /etc/init.d/fake <<'X'
#!/bin/sh
### BEGIN INIT INFO
# Provides: fake
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
# Short-Description: fake
### END INIT INFO
echo "$@ $(env | cut -d= -f1 | grep -E 'LANG|LC_|HOME|FOO' | sort | tr '\n' ' ') $(pwd)" >> /tmp/fake
[ "$2" = bad ] && { echo broken; echo worse >&2; exit 7; }
case $1 in start) touch /run/fake/up; echo Starting fake;; stop) rm -f /run/fake/up; echo Stopping >&2;; reload) echo reloading;; restart) exit 9;; status) [ -e /run/fake/quiet ] && exit $(cat /run/fake/quiet); if [ -e /run/fake/up ]; then echo fake is running; else echo fake is stopped; exit 3; fi;; esac
X
chmod +x /etc/init.d/fake
'''
case('service sysv', SCRIPT,
     s(name='fake', state='started'),
     s(name='fake', state='started'),
     sc(name='fake', state='stopped'),
     s(name='fake', state='reloaded'),
     s(name='fake', state='restarted', sleep=1),
     sc(name='fake', state='restarted'),
     s(name='fake', state='stopped'),
     s(name='fake', state='stopped'),
     s(name='fake', state='reloaded'),
     s(name='fake', state='stopped', arguments='x "y z"'),
     s(name='fake', state='started', args='bad'),
     s(name='fake', state='restarted', args='bad'),
     s(name='fake', enabled=True),
     s(name='fake', enabled=True),
     sc(name='fake', enabled=False),
     s(name='fake', enabled=False),
     s(name='fake', enabled=False),
     s(name='fake', enabled=True, state='started'),
     sc(name='fake', enabled=False, state='stopped'),
     s(name='nope', state='started'),
     s(name='nope', enabled=True),
     s(name='fake'),
     s(state='started'),
     s(name='fake', state='x'),
     s(name='fake', state='started', pattern='nosuchprocess'),
     s(name='fake', state='stopped', pattern='python3'),
     s(name='fake', state='stopped', pattern='nosuchprocess'), env={'FOO': '1'})
case('service quiet', SCRIPT, 'echo 0 > /run/fake/quiet',
     s(name='fake', state='stopped'),
     v(name='fake', state='stopped'), 'echo 4 > /run/fake/quiet', s(name='fake', state='started'),
     v(name='fake', state='started'), 'echo 9 > /run/fake/quiet', s(name='fake', state='started'),
     v(name='fake', state='started'), 'echo 69 > /run/fake/quiet', s(name='fake', state='reloaded'),
     v(name='fake', state='reloaded'))
case('sysvinit', SCRIPT,
     v(name='fake', state='started'),
     v(name='fake', state='started'),
     vc(name='fake', state='stopped'),
     v(name='fake', state='restarted', sleep=0),
     v(name='fake', state='reloaded'),
     v(name='fake', state='stopped', daemonize=True),
     v(name='fake', state='reloaded'),
     v(name='fake', state='started', args='bad'),
     v(name='fake', state='started', arguments='one two', daemonize=True),
     v(name='fake', enabled=True),
     v(name='fake', enabled=True),
     vc(name='fake', enabled=False),
     v(name='fake', enabled=False),
     v(name='fake', enabled=True, runlevels=['3', '5']),
     v(name='fake', enabled=False, runlevels='3'),
     v(name='fake', enabled=True, runlevels=['3'], state='stopped'),
     v(name='fake', state='started', runlevels=['3']),
     v(name='fake', enabled=True, runlevels=['q']),
     v(name='nope', state='started'),
     v(name='/etc/init.d/fake', state='stopped'),
     v(name='fake'),
     v(name='fake', state='started', pattern='nosuch'),
     v(name='fake', state='stopped', pattern='python3'))
SYSTEMCTL = r'''mkdir -p /run/systemd/system /run/fake; cat > /usr/bin/systemctl <<'X'
#!/bin/bash
echo "$* [$XDG_RUNTIME_DIR] $LANG" >> /tmp/fake
while [[ $1 = --* ]]; do shift; done
u=${2}; d=/run/fake
case "$1" in
show) case $u in missing*) echo LoadState=not-found; echo ActiveState=inactive;; bus*) echo "Id=x"; echo "Failed to parse bus message: x" >&2; exit 1;; chroot*) echo "Running in chroot, ignoring request: show";; fail*) echo oops >&2; exit 5;; loaderr*) echo LoadState=error; echo LoadError=bad;; nostate*) echo LoadState=loaded; echo Id=x;; empty*) ;; masked*) echo LoadState=masked; echo LoadError=m; echo ActiveState=inactive;;
 *) a=$(cat $d/$u.active 2>/dev/null || echo inactive); printf 'Id=%s\nDescription={ odd\nExecStart={ path=/bin/x ; argv[]=/bin/x ;\n more=1 }\nExecReload={ one }\nLoadState=loaded\nActiveState=%s\n  \nSubState=x=y\n' $u $a;; esac;;
is-enabled) case $u in chroot1*) echo static;; *) f=$(cat $d/$u.enabled 2>/dev/null || echo disabled); echo $f; [ $f = enabled -o $f = static -o $f = indirect -o $f = alias ];; esac;;
list-unit-files) case $u in bus@*|chroot2*) echo "$u enabled";; *) exit 1;; esac;;
is-active) echo active;;
enable) [[ $u = stuck* ]] && { echo no >&2; exit 1; }; echo enabled > $d/$u.enabled;;
disable) echo disabled > $d/$u.enabled;;
mask) [[ $u = stuck* || $u = missing2* ]] && { echo no >&2; exit 1; }; echo masked > $d/$u.enabled;; unmask) echo disabled > $d/$u.enabled;;
start) [[ $u = stuck* ]] && { echo no >&2; exit 1; }; echo active > $d/$u.active;; restart|reload) echo active > $d/$u.active;;
stop) echo inactive > $d/$u.active;;
daemon-reload|daemon-reexec) [ -e $d/noreload ] && { echo cannot >&2; exit 3; }; exit 0;;
"") exit 0;;
esac
X
chmod +x /usr/bin/systemctl
'''
d = lambda **k: ('systemd', k)
dc = lambda **k: ('systemd_service', k, CH)
case('systemd', SYSTEMCTL,
     d(name='web', state='started'),
     d(name='web', state='started'),
     dc(name='web', state='stopped'),
     d(name='web', state='reloaded'),
     d(name='web', state='restarted'),
     d(name='web', state='stopped'),
     d(name='web', state='reloaded'),
     d(name='web', enabled=True),
     d(name='web', enabled=True),
     dc(name='web', enabled=False),
     d(name='web', enabled=False, masked=True),
     d(name='web', masked=True),
     dc(name='web', masked=False),
     d(name='web', masked=False, enabled=True, state='started', daemon_reload=True, daemon_reexec=True, no_block=True, force=True),
     d(daemon_reload=True),
     d(scope='user', name='web', enabled=True),
     d(scope='global', name='web', enabled=False, state='stopped'), 'touch /run/fake/noreload', d(daemon_reload=True),
     d(daemon_reexec=True),
     dc(daemon_reload=True),
     d(name='a*', state='started'),
     d(name='a[', state='started'),
     d(name='web'),
     d(state='started'),
     d(name='missing', state='started'),
     d(name='missing', enabled=True),
     d(name='missing', masked=True),
     d(name='missing2', masked=True),
     d(name='stuck', masked=True),
     d(name='stuck', enabled=True),
     d(name='stuck', state='started'),
     d(name='fail', state='started'),
     d(name='loaderr', state='started'),
     d(name='nostate', state='started'),
     d(name='empty', state='started'),
     d(name='masked', state='started'),
     d(name='bus@1', state='started'),
     d(name='busx', state='started'),
     d(name='chroot', state='started'),
     d(name='chroot1', state='started'),
     d(name='chroot2', state='started', enabled=True), 'echo indirect > /run/fake/web.enabled', d(name='web', enabled=True), 'echo deactivating > /run/fake/web.active', d(name='web', state='stopped'), 'echo activating > /run/fake/web.active', d(name='web', state='started'), 'echo alias > /run/fake/web.enabled', d(name='web', enabled=True), 'echo enabled-runtime > /run/fake/web.enabled', d(name='web', enabled=True))
case('systemd env', SYSTEMCTL,
     d(name='web', state='started'),
     d(name='chroot1', state='started'), 'touch /run/fake/noreload', d(daemon_reload=True), env={'XDG_RUNTIME_DIR': '/x', 'SYSTEMD_OFFLINE': '1'})
case('systemd and init', SYSTEMCTL + SCRIPT + '\nupdate-rc.d fake defaults',
     d(name='fake', state='started'),
     d(name='fake', enabled=False),
     d(name='missing', enabled=True), 'cp /etc/init.d/fake /etc/init.d/missing; cp /etc/init.d/fake /etc/init.d/fail', d(name='missing', enabled=True),
     d(name='missing', state='started'),
     d(name='fail', enabled=True), 'echo x > /run/fake/fake.enabled', d(name='fake', enabled=True),
     d(name='fake', enabled=True, scope='user'))
case('service systemd', SYSTEMCTL + SCRIPT,
     s(name='web', state='started'),
     s(name='web', state='started'),
     sc(name='web', state='stopped'),
     s(name='web', state='reloaded'),
     s(name='web', state='restarted', args='x'),
     s(name='web', state='stopped'),
     s(name='web', enabled=True),
     s(name='web', enabled=True, state='started'),
     sc(name='web', enabled=False),
     s(name='web', enabled=False),
     s(name='missing', state='started'),
     s(name='fail', state='started'),
     s(name='nostate', state='started'),
     s(name='stuck', state='started'),
     s(name='stuck', enabled=True), 'echo failed > /run/fake/web.active', s(name='web', state='started'), 'update-rc.d fake defaults; echo x > /run/fake/fake.enabled', s(name='fake', enabled=False),
     s(name='fake', enabled=False))
RC = r'''rm /etc/init.d/fake; mkdir -p /run/fake; rm -f /usr/bin/systemctl
cat > /usr/sbin/rc-service <<'X'
#!/bin/sh
echo "rc-service $*" >> /tmp/fake
case $2 in status) case $1 in crash*) echo "status: crashed" >&2; exit 32;; *) if [ -e /run/fake/up ]; then echo " * status: started"; else echo " * status: stopped"; exit 3; fi;; esac;; start) touch /run/fake/up;; stop) rm -f /run/fake/up;; esac
X
cat > /usr/sbin/rc-update <<'X'
#!/bin/sh
echo "rc-update $*" >> /tmp/fake
case $1 in show) cat /run/fake/levels 2>/dev/null; exit 0;; add) [ $2 = bad ] && { echo nope >&2; exit 2; }; echo "   $2 | $3 " > /run/fake/levels;; delete) rm -f /run/fake/levels;; esac
X
chmod +x /usr/sbin/rc-service /usr/sbin/rc-update
'''
case('service openrc', SCRIPT + RC,
     s(name='web', state='started'),
     s(name='web', state='started'),
     s(name='web', state='restarted'),
     s(name='web', state='reloaded'),
     s(name='web', state='stopped'),
     s(name='crash', state='started'),
     s(name='web', enabled=True),
     s(name='web', enabled=True),
     sc(name='web', enabled=False),
     s(name='web', enabled=True, runlevel='boot'),
     s(name='web', enabled=False),
     s(name='web', enabled=False, runlevel='boot'),
     s(name='bad', enabled=True),
     s(name='bad', enabled=False), 'rm /usr/sbin/rc-update', s(name='web', enabled=True))
UP = r'''mkdir -p /etc/init /run/fake; rm -f /usr/bin/systemctl; echo "start on x" > /etc/init/web.conf; printf "a\nManual\n" > /etc/init/man.conf
cat > /usr/sbin/initctl <<'X'
#!/bin/sh
echo "initctl $*" >> /tmp/fake
case $1 in version) echo "init (upstart $(cat /run/fake/version 2>/dev/null || echo 1.12.1))";; status) if [ -e /run/fake/up ]; then echo "$2 start/running, process 1"; else echo "$2 stop/waiting"; fi;; start) [ $2 = bad ] && { echo "Job is already running" >&2; exit 1; }; touch /run/fake/up;; stop) rm -f /run/fake/up;; esac
X
chmod +x /usr/sbin/initctl; cp /etc/init/web.conf /etc/init/bad.conf
'''
case('service upstart', UP,
     s(name='web', state='started'),
     s(name='web', state='started'),
     s(name='web', state='restarted', args='A=1'),
     s(name='web', state='stopped'),
     s(name='web', enabled=False),
     s(name='web', enabled=False),
     sc(name='web', enabled=True),
     s(name='web', enabled=True),
     s(name='web', enabled=True),
     s(name='web', enabled=False),
     s(name='man', enabled=False),
     s(name='bad', state='started'), 'echo 0.6.5 > /run/fake/version', s(name='bad', enabled=False),
     s(name='bad', enabled=True))
CK = r'''rm -f /usr/sbin/update-rc.d /usr/bin/systemctl
cat > /usr/sbin/chkconfig <<'X'
#!/bin/sh
echo "chkconfig $*" >> /tmp/fake
case $1 in --list) [ -e /run/fake/added ] || { echo "service $2 supports chkconfig, but is not referenced in any runlevel (run 'chkconfig --add $2')" >&2; exit 1; }; x=$(cat /run/fake/on 2>/dev/null || echo off); echo "$2 0:off 1:off 2:$x 3:$x 4:$x 5:$x 6:off";; --add) touch /run/fake/added;; *) [ $2 = x ] && exit 3; echo $2 > /run/fake/on;; esac
X
chmod +x /usr/sbin/chkconfig; mkdir -p /run/fake
'''
case('service chkconfig', SCRIPT + CK,
     s(name='fake', enabled=True),
     s(name='fake', enabled=True),
     sc(name='fake', enabled=False),
     s(name='fake', enabled=False),
     v(name='fake', enabled=True),
     v(name='fake', enabled=True, runlevels=['3', '4']))
INS = r'''rm -f /usr/sbin/update-rc.d /usr/bin/systemctl
cat > /usr/sbin/insserv <<'X'
#!/bin/sh
echo "insserv $*" >> /tmp/fake
case "$*" in "-n -v "*) [ -e /run/fake/on ] || echo "insserv: enable service ../init.d/fake" >&2;; "-n -r -v "*) [ -e /run/fake/on ] && echo "insserv: remove service fake" >&2;; "-r "*) rm -f /run/fake/on;; *) touch /run/fake/on; [ -e /run/fake/warn ] && echo warning >&2;; esac
exit 0
X
chmod +x /usr/sbin/insserv; mkdir -p /run/fake
'''
case('service insserv', SCRIPT + INS,
     sc(name='fake', enabled=True),
     s(name='fake', enabled=True),
     s(name='fake', enabled=True),
     sc(name='fake', enabled=False),
     s(name='fake', enabled=False),
     s(name='fake', enabled=False), 'touch /run/fake/warn', s(name='fake', enabled=True))
case('service script only', SCRIPT + 'rm -f /usr/bin/systemctl /usr/sbin/service',
     s(name='fake', state='started'),
     s(name='fake', state='restarted'),
     v(name='fake', state='stopped'),
     s(name='nope', state='started'))
