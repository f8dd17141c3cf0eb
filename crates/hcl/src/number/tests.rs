use super::*;

fn n(text: &str) -> Number {
    Number::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
}

#[test]
fn decimal_text_is_kept_to_512_bits() {
    for (text, printed) in [
        ("0", "0"),
        ("-0", "-0"),
        ("0.1", "0.1"),
        ("1e3", "1000"),
        ("1.50", "1.5"),
        ("-12.25e-1", "-1.225"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1e100", &format!("1{}", "0".repeat(100))),
        ("1e-7", "0.0000001"),
        (".5", "0.5"),
        ("5.", "5"),
        (
            "123456789012345678901234567890.123456789",
            "123456789012345678901234567890.123456789",
        ),
    ] {
        assert_eq!(n(text).to_string(), printed, "{text}");
    }
    for text in [
        "",
        "-",
        "e1",
        "1e",
        "1x",
        "0x10",
        "1 ",
        " 1",
        ".",
        "1_000",
        "1e999999999999999999999",
    ] {
        assert!(Number::parse(text).is_none(), "{text}");
    }
}

#[test]
fn results_take_the_larger_precision() {
    let third = n("1").divide(&n("3")).unwrap();
    assert!(
        third
            .to_string()
            .starts_with("0.33333333333333333333333333333333")
    );
    assert_eq!(third.to_string().len(), 2 + 155);
    let third = Number::from(1i64).divide(&Number::from(3i64)).unwrap();
    assert_eq!(third.to_string(), "0.33333333333333333334");
    assert_eq!(n("0.1").add(&n("0.2")).to_string(), "0.3");
    assert_eq!(Number::from(0.1).to_string(), "0.1");
    assert_ne!(Number::from(0.1), n("0.1"));
    assert_eq!(
        Number::from(3f64.powi(40)).to_string(),
        "12157665459056929000"
    );
}

#[test]
fn arithmetic_goes_beyond_machine_integers() {
    let max = n("9223372036854775807");
    assert_eq!(max.add(&n("1")).to_string(), "9223372036854775808");
    assert_eq!(
        max.multiply(&max).to_string(),
        "85070591730234615847396907784232501249"
    );
    assert_eq!(n("7").modulo(&n("-3")).to_string(), "1");
    assert_eq!(n("-7").modulo(&n("3")).to_string(), "-1");
    assert_eq!(n("5.5").modulo(&n("2")).to_string(), "1.5");
    assert_eq!(n("-1.5").floor().to_string(), "-2");
    assert_eq!(n("-1.5").ceil().to_string(), "-1");
    assert_eq!(n("1e30").subtract(&n("1e30")).to_string(), "0");
    assert_eq!(
        n("1e-300").add(&n("1e300")).to_string(),
        n("1e300").to_string()
    );
    assert!(n("1").divide(&n("0")).unwrap().is_infinite());
}

#[test]
#[allow(clippy::float_cmp)]
fn order_is_by_value() {
    let mut numbers = [
        n("2"),
        n("-1e40"),
        n("1.5"),
        Number::INFINITY,
        n("1e40"),
        n("0"),
        Number::NEGATIVE_INFINITY,
    ];
    numbers.sort();
    let printed: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let big = "10000000000000000000000000000000000000000";
    assert_eq!(
        printed,
        ["-Inf", &format!("-{big}"), "0", "1.5", "2", big, "+Inf"]
    );
    assert_eq!(n("-0"), n("0"));
    assert_eq!(Number::from(1.5).to_f64(), 1.5);
    assert_eq!(n("0.1").to_f64(), 0.1);
    assert_eq!(n("1e400").to_f64(), f64::INFINITY);
}

#[test]
fn ten_significant_digits_print_as_in_go() {
    for (text, printed) in [
        ("1", "1"),
        ("100", "100"),
        ("12345678901", "1.23456789e+10"),
        ("1e20", "1e+20"),
        ("0.1", "0.1"),
        ("0.00001", "1e-05"),
        ("1234.56789012345", "1234.56789"),
        ("-2.5", "-2.5"),
    ] {
        assert_eq!(n(text).ten_digits(), printed, "{text}");
    }
}
