"""`apt`, `deb822_repository`, `apt_repository`, `dpkg_selections`, `debconf` with a repository of small packages of our own."""

import odd

SETUP = r"""
mkdir -p repo p
pack() { # name version fields
  d=p/$1; rm -rf $d; mkdir -p $d/DEBIAN $d/usr/share/$1; echo "$2" > $d/usr/share/$1/version
  [ -z "$4" ] || { mkdir -p $d/etc; echo "conf $2" > $d/etc/$1.conf; echo /etc/$1.conf > $d/DEBIAN/conffiles; }
  printf "Package: $1\nVersion: $2\nArchitecture: all\nMaintainer: x <x@x>\n$3Description: small\n" > $d/DEBIAN/control
  dpkg-deb --root-owner-group -Znone -b $d repo/$1_$2_all.deb >/dev/null
}
pack aa 1.0 ""; pack aa 2.0 ""; pack bb 1.0 "Depends: aa\n"; pack cc 1.0 "Conflicts: aa\n"; pack dd 1.0 "Recommends: aa (>= 2.0)\n"; pack ee 1.0 "Provides: virt\n"; pack ff 1:1.0-1 "" conf; pack ff 1:1.1-1 "" conf
pack ab-one 1.0 ""; pack ab-two 1.0 "Suggests: ee\n"; pack needs 1.0 "Depends: nosuchthing\n"
mv repo/needs_1.0_all.deb .; mv repo/ab-two_1.0_all.deb .; cp repo/aa_1.0_all.deb .
cd repo; for f in *.deb; do dpkg-deb -f $f; echo "Filename: ./$f"; echo "Size: $(stat -c %s $f)"; echo "SHA256: $(sha256sum $f | cut -d' ' -f1)"; echo; done > Packages; cd ..
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; echo "deb [trusted=yes] file:/tmp/w/repo ./" > /etc/apt/sources.list
rm -rf /var/lib/apt/lists/*; echo 'APT::Sandbox::User "root";' > /etc/apt/apt.conf.d/99x; rm -f /etc/apt/apt.conf.d/99proxy
apt-get update >/dev/null 2>&1
rm -rf p
"""
LATER = "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' 'a*' bb cc dd ee ff needs 2>/dev/null | grep -E '^(aa|ab-one|ab-two|bb|cc|dd|ee|ff|needs) ' > /tmp/w/state; apt-mark showmanual | grep -E '^(aa|ab-one|ab-two|bb|cc|dd|ee|ff|needs)$' > /tmp/w/manual; apt-mark showhold > /tmp/w/holds"


def apt(random):
    def one():
        told = odd.chosen(
            random, name=(0.93, ["aa", ["aa", "bb"], "bb", "cc", "dd", "ee", "ff", "virt", "aa=1.0", "aa=1.*", "aa=9", "ff=1:1.0-1", "ab*", "nosuchpackage", "aa,ee", ["ee", "nosuchpackage"], "aa:all", "aa>=1.5", "aa>=3", [], "bb+", "ee-"]),
            state=(0.6, ["present", "latest", "absent", "absent", "build-dep", "fixed"]), purge=(0.15, [True, False]), autoremove=(0.15, [True]), install_recommends=(0.2, [True, False]), only_upgrade=(0.12, [True]),
            allow_downgrade=(0.2, [True]), force=(0.06, [True]), update_cache=(0.1, [True, False]), cache_valid_time=(0.08, [3600]), allow_change_held_packages=(0.06, [True]), dpkg_options=(0.06, ["force-confnew", "force-confold,force-confdef"]),
            default_release=(0.03, ["stable"]), allow_unauthenticated=(0.05, [True]), policy_rc_d=(0.05, [101]), fail_on_autoremove=(0.06, [True]), lock_timeout=(0.05, [5]), clean=(0.03, [True]), autoclean=(0.03, [True]))
        if random.random() < 0.12:
            told.pop("name", None)
            told["deb"] = random.choice(["/tmp/w/aa_1.0_all.deb", "/tmp/w/ab-two_1.0_all.deb", "/tmp/w/needs_1.0_all.deb", "/tmp/w/repo/bb_1.0_all.deb", "/nosuch.deb", "/tmp/w/repo/aa_2.0_all.deb"])
        if random.random() < 0.06:
            told.pop("name", None)
            told["upgrade"] = random.choice(["yes", "safe", "dist", "full", "no", "never"])
        return told

    return "apt", one


def selections(random):
    return "dpkg_selections", lambda: odd.chosen(random, name=(0.98, ["aa", "bb", "nosuch", "bash"]), selection=(0.97, ["hold", "install", "deinstall", "purge", "none"]))


def repository(random):
    return "apt_repository", lambda: {"update_cache": False, **odd.chosen(
        random, repo=(0.97, ["deb http://a.example/debian stable main", "deb [arch=amd64 signed-by=/k] http://b.example x y z", "deb-src http://a.example/debian stable main", "# deb http://c.example q r", "bad", "deb http://a.example/debian stable main # why",
                             "deb http://e.example/ ./", "ppa:x/y", ""]), state=(0.4, ["present", "absent"]), filename=(0.3, ["mine", "a b", "x.list"]), mode=(0.2, ["0600", 420, "u=rw"]), codename=(0.1, ["jammy"]), validate_certs=(0.05, [False]))}


def deb822(random):
    return "deb822_repository", lambda: odd.chosen(
        random, name=(0.97, ["one", "A name with spaces", "dots.in", "gr\u00fcn"]), types=(0.4, ["deb", ["deb", "deb-src"]]), uris=(0.9, ["http://a.example/debian", ["http://a.example", "http://b.example"]]),
        suites=(0.9, ["stable", ["stable", "stable-updates"], "./"]), components=(0.7, ["main", ["main", "contrib"]]), architectures=(0.2, ["amd64", ["amd64", "arm64"]]), enabled=(0.2, [True, False]), state=(0.3, ["present", "absent"]),
        signed_by=(0.3, ["/usr/share/keyrings/x.gpg", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n=de\n-----END PGP PUBLIC KEY BLOCK-----", "AAAABBBBCCCCDDDDEEEEFFFF0000111122223333"]), trusted=(0.1, [True]), by_hash=(0.1, [False]), pdiffs=(0.1, [True]),
        languages=(0.1, [["en", "de"]]), targets=(0.05, ["x"]), check_valid_until=(0.1, [False]), date_max_future=(0.1, [10]), mode=(0.2, ["0600", "0644"]), allow_insecure=(0.1, [True]), inrelease_path=(0.05, ["x/y"]), exclude=(0.05, [["bad*"]]), include=(0.05, [["good"]]))


def debconf(random):
    return "debconf", lambda: odd.chosen(
        random, name=(0.97, ["tzdata", "aa", "nosuch"]), question=(0.8, ["tzdata/Areas", "aa/q", "tzdata/Zones/Europe"]), vtype=(0.75, ["select", "string", "boolean", "password", "seen", "multiselect", "bad"]),
        value=(0.75, ["Europe", "true", True, "x y", "", "a, b"]), unseen=(0.2, [True]))


def case(random):
    module, one = random.choices([apt, selections, repository, deb822, debconf], [6, 1, 2, 3, 1])[0](random)
    steps = []
    start = random.choice(["", "", "apt-get install -y aa=1.0 >/dev/null", "apt-get install -y bb ff=1:1.0-1 >/dev/null", "apt-get install -y bb >/dev/null; apt-get remove -y bb >/dev/null", "apt-get install -y aa=1.0; apt-mark hold aa", "apt-get install -y ff; echo mine >> /etc/ff.conf"])
    for step in odd.steps(random, module, one, 3):
        steps += [step, LATER]
    return dict(setup=SETUP + (start if module in ("apt", "dpkg_selections") else "") + "\ntrue\n", steps=steps, watched=["/tmp/w/state", "/tmp/w/manual", "/tmp/w/holds", "/etc/apt", "/etc/ff.conf"], loose=["cache_update_time"])
