//! Expressions of Python.

use consort_modules::python_re::{BytesPattern, Flags, Pattern, Template};

fn sub(pattern: &str, template: &str, text: &str) -> String {
    let pattern = Pattern::new(pattern).unwrap();
    let template = Template::parse(&pattern, template).unwrap();
    pattern.sub(text, &template, 0).unwrap().0
}

/// What `re.sub` of Python 3.13 gives.
#[test]
fn substitutes_as_python_does() {
    for (pattern, template, text, wanted) in [
        (r"x*", "-", "abxd", "-a-b--d-"),
        (r"\d{,2}$", "N", "a12\n", "aNN\nN"),
        (r"\d+$", "N", "a12\n", "aN\n"),
        (r"(?P<k>\w+)=(\d+)", r"\g<k>:\2\g<0>", "ab=12", "ab:12ab=12"),
        (r"a{", "b", "a{", "b"),
        (r"[[a&&b]", "_", "[&ab", "____"),
        (r"[]x]", "_", "]x", "__"),
        (r"(a)|b", r"[\1]", "ab", "[a][]"),
        (r"(?x) a  b # both", "-", "ab", "-"),
        (r"(?i)É", "-", "é", "-"),
        (r"a++b", "-", "aaab", "-"),
        (r"(.)\1", r"<\1>", "aabb", "<a><b>"),
        (r"\Aa", "-", "aa", "-a"),
        (r"(?:a|(b))(?(1)c|d)", "-", "ad bc ac", "- - ac"),
        (r"\x41\u0042\103", "-", "ABC", "-"),
        (r"\.", r"\\.", "a.b", r"a\.b"),
        (r"\s*#.*", "", "a # b", "a"),
        (r"(?a)\w+", "-", "é", "é"),
    ] {
        assert_eq!(sub(pattern, template, text), wanted, "{pattern}");
    }
}

#[test]
fn says_what_is_wrong_in_the_words_of_python() {
    for (pattern, wanted) in [
        ("(", "missing ), unterminated subpattern at position 0"),
        (")", "unbalanced parenthesis at position 0"),
        ("*a", "nothing to repeat at position 0"),
        ("a**", "multiple repeat at position 2"),
        ("[a", "unterminated character set at position 0"),
        (r"\q", r"bad escape \q at position 0"),
        (r"\1", "invalid group reference 1 at position 1"),
        ("[b-a]", "bad character range b-a at position 1"),
        ("(?P<a", "missing >, unterminated name at position 4"),
        ("(?P=x)", "unknown group name 'x' at position 4"),
        (
            "a(?i)",
            "global flags not at the start of the expression at position 1",
        ),
        ("a{2,1}", "min repeat greater than max repeat at position 2"),
        ("x\\", "bad escape (end of pattern) at position 1"),
    ] {
        assert_eq!(Pattern::new(pattern).unwrap_err().0, wanted, "{pattern}");
    }
    let pattern = Pattern::new("(a)").unwrap();
    for (template, wanted) in [
        (r"\2", "invalid group reference 2 at position 1"),
        (r"\q", r"bad escape \q at position 0"),
        (r"\g<x>", "unknown group name 'x'"),
    ] {
        assert_eq!(Template::parse(&pattern, template).unwrap_err().0, wanted);
    }
}

#[test]
fn bytes_that_are_no_text_are_searched_too() {
    let multi_line = Flags {
        multi_line: true,
        ..Flags::default()
    };
    let pattern = BytesPattern::with(r"^(k)=(.*)$", multi_line).unwrap();
    let template = Template::parse_bytes(&pattern, r"\1=é").unwrap();
    let (made, count) = pattern.sub(b"\xff\nk=\xfe\xfd\n", &template, 0).unwrap();
    assert_eq!(made, [b"\xff\nk=".as_slice(), "é\n".as_bytes()].concat());
    assert_eq!(count, 1);
}
