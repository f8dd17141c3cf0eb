//! Debian's packages: how versions are ordered, what packages ask of each other, and what dpkg says is there.

use std::cmp::Ordering;

use consort_modules::apt::installed::Installed;
use consort_modules::apt::version::{compare, relations};

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    for (one, order, other) in [
        ("1.0", Ordering::Equal, "1.0-0"),
        ("1.0", Ordering::Equal, "0:1.00"),
        ("1.0~rc1", Ordering::Less, "1.0"),
        ("1.0~rc1-2", Ordering::Less, "1.0~rc1-10"),
        ("1:0.1", Ordering::Greater, "9.9"),
        ("2.4+dfsg-1", Ordering::Greater, "2.4-3"),
        ("2.4a", Ordering::Less, "2.4+b1"),
        ("5.2.37-2+b5", Ordering::Greater, "5.2.37-2"),
        ("1.2-3~bpo12+1", Ordering::Less, "1.2-3"),
    ] {
        assert_eq!(compare(one, other), order, "{one} {other}");
        assert_eq!(compare(other, one), order.reverse(), "{other} {one}");
    }
}

#[test]
fn what_packages_ask_for_keeps_alternatives_and_versions() {
    let read = relations("libc6 (>= 2.38), python3:any, a (<< 1) | b [amd64] <!nocheck>, ");
    assert_eq!(read.len(), 3);
    assert_eq!(read[0][0].operator, ">=");
    assert!(read[0][0].holds("2.41-12"));
    assert_eq!(read[1][0].name, "python3");
    assert_eq!((read[2][0].operator, read[2].len()), ("<", 2));
    assert!(!read[2][0].holds("1.0"));
    assert_eq!(read[2][1].name, "b");
    assert!(read[2][1].holds("7"));
}

#[test]
fn installed_packages_are_found_by_their_name_and_architecture() {
    let text = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22\n\n\
                Package: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2.1\n\n\
                Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.2\n\n\
                Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\n";
    let installed = Installed::of(text.to_owned());
    let version = |name: &str| installed.find(name).and_then(|package| package.version());
    assert_eq!(version("libc6"), Some("2.2"));
    assert_eq!(version("libc6:i386"), Some("2.1"));
    assert_eq!(version("libc6:arm64"), None);
    assert_eq!(version("dpkg"), Some("1.22"));
    assert!(installed.find("gone").is_some());
    assert_eq!(version("gone"), None);
    assert_eq!(installed.all().len(), 3);
}
