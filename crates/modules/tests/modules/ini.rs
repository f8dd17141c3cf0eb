//! Files of Python's `configparser`: values and messages are those of Python 3.13.

use consort_modules::ini::{Ini, Reading, Wrong};

fn read(text: &str, reading: &Reading<'_>) -> Result<Ini, String> {
    let mut ini = Ini::default();
    ini.read(text, reading).map_err(Wrong::into_message)?;
    Ok(ini)
}

#[test]
fn values_go_on_in_lines_further_in_and_come_back_as_they_were_written() {
    let text = "[DEFAULT]\nall = 1\n[a]\nx = one\n\n   two\n# no more\n; nor this\n  three ; not a comment\nY: z\n[b]\n";
    let ini = read(text, &Reading::default()).expect("it is well written");
    assert_eq!(
        ini.value("a", "x"),
        Some("one\n\ntwo\nthree ; not a comment")
    );
    assert_eq!(ini.value("a", "y"), Some("z"));
    assert_eq!(ini.value("b", "all"), Some("1"));
    assert_eq!(ini.value("c", "all"), None);
    assert_eq!(
        ini.write(),
        "[DEFAULT]\nall = 1\n\n[a]\nx = one\n\t\n\ttwo\n\tthree ; not a comment\ny = z\n\n[b]\n\n"
    );
    let settings = Reading {
        comments: true,
        ..Reading::default()
    };
    let ini = read("[a]\nx = 1 ; one\ny = a;b\n", &settings).expect("it is well written");
    assert_eq!(
        (ini.value("a", "x"), ini.value("a", "y")),
        (Some("1"), Some("a;b"))
    );
}

#[test]
fn mistakes_are_told_in_the_words_of_python() {
    let named = Reading {
        name: "it",
        ..Reading::default()
    };
    for (text, told) in [
        (
            "x = 1\n",
            "File contains no section headers.\nfile: 'it', line: 1\n'x = 1\\n'",
        ),
        (
            "[a]\n[a]\n",
            "While reading from 'it' [line  2]: section 'a' already exists",
        ),
        (
            "[a]\nx = 1\nX = 2\n",
            "While reading from 'it' [line  3]: option 'x' in section 'a' already exists",
        ),
        (
            "[a]\nalone\nx = 1\n  more\n= 2\n",
            "Source contains parsing errors: 'it'\n\t[line  2]: 'alone\\n'\n\t[line  5]: '= 2\\n'",
        ),
    ] {
        assert_eq!(read(text, &named).expect_err(text), told);
    }
    let bare = Reading {
        bare: true,
        ..named
    };
    assert_eq!(
        read("[a]\nalone\n  more\n", &bare).expect_err("it has no value"),
        "Key without value continued with an indented line.\nfile: 'it', line: 3\n'  more\\n'"
    );
}
