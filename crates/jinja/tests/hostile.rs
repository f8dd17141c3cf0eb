//! Templates that are deep, huge, or hold themselves: they end with a value or an error, on the stack that a thread of a
//! server has.

use std::sync::Arc;
use std::thread;

use consort_jinja::{Dict, Environment, Error, Result, Str, Syntax, Value};

fn environment() -> Environment {
    Environment::new(Syntax {
        extensions: true,
        ..Syntax::default()
    })
}

/// Renders on a small stack.
fn rendered(text: impl Into<Arc<str>>) -> Result<Value> {
    let text = text.into();
    thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || environment().render(&text, &Dict::default()))
        .expect("a thread")
        .join()
        .expect("the template brings nobody down")
}

fn text(template: &str) -> String {
    match rendered(template) {
        Ok(value) => value
            .text()
            .map_or_else(|error| error.to_string(), |text| text.to_string()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values_that_hold_themselves_are_compared_shown_and_sorted() {
    assert_eq!(
        text(
            "{% set a = [1] %}{% set b = [1] %}{% do a.append(b) %}{% do b.append(a) %}\
             {{ a == b }} {{ a == [1, [2]] }} {{ (a | string | length) < 10000 }}"
        ),
        "True False True"
    );
    assert!(matches!(
        rendered(
            "{% set a = [] %}{% set b = [] %}{% do a.append(b) %}{% do b.append(a) %}{{ [a, [b, 1], a] | sort | length }}"
        ),
        Ok(_) | Err(Error::Recursion)
    ));
    assert!(text("{% set ns = namespace() %}{% set ns.own = ns %}{{ ns ~ '' }}").contains("..."));
}

#[test]
fn values_nested_by_a_loop_are_let_go_without_the_stack() {
    for (nested, told) in [
        ("[ns.value]", "True"),
        ("{'a': ns.value}", "True"),
        ("[(ns.value,), 1]", "True"),
        (
            "(ns.value,)",
            "Recursive loop detected in template: maximum recursion depth exceeded",
        ),
    ] {
        let made = text(&format!(
            "{{% set ns = namespace(value=0) %}}{{% for i in range(20000) %}}{{% set ns.value = {nested} %}}{{% endfor %}}\
             {{{{ ns.value == ns.value }}}}"
        ));
        assert_eq!(made, told, "{nested}");
    }
    let two = "{% set one = namespace(v=[]) %}{% set two = namespace(v=[]) %}{% for i in range(20000) %}\
               {% set one.v = [one.v] %}{% set two.v = [two.v] %}{% endfor %}";
    assert_eq!(text(&format!("{two}{{{{ one.v == two.v }}}}")), "True");
    assert_eq!(
        text(&format!(
            "{two}{{% do two.v.append(1) %}}{{{{ one.v == two.v }}}}"
        )),
        "False"
    );
    assert_eq!(
        text(&format!("{two}{{{{ one.v < [two.v] }}}}")),
        "Recursive loop detected in template: maximum recursion depth exceeded"
    );
}

#[test]
fn what_has_no_order_is_refused_and_what_contradicts_itself_is_sorted_somehow() {
    let mixed: String = (0..200)
        .map(|at| {
            if at % 3 == 0 {
                format!("'{at}',")
            } else {
                format!("{at},")
            }
        })
        .collect();
    assert_eq!(
        text(&format!("{{{{ [{mixed}] | sort }}}}")),
        "The filter plugin 'sort' failed: '<' not supported between instances of 'int' and 'str'"
    );
    let numbers: String = (0..200)
        .map(|at| {
            if at % 3 == 0 {
                "'nan' | float,".to_owned()
            } else {
                format!("{},", 997 * at % 211)
            }
        })
        .collect();
    assert_eq!(
        text(&format!("{{{{ [{numbers}] | sort | length }}}}")),
        "200"
    );
    let down: Vec<i64> = (0..1000).rev().collect();
    let variables: Dict = [(
        "numbers",
        Value::list(down.into_iter().map(Value::Int).collect()),
    )]
    .into_iter()
    .collect();
    let sorted = environment()
        .render(&"{{ numbers | sort | first }} {{ (numbers | sort)[500] }} {{ numbers | sort(reverse=true) | first }}".into(), &variables)
        .expect("a text");
    assert_eq!(sorted.as_str(), Some("0 500 999"));
}

#[test]
fn sorting_is_stable_both_ways() {
    let pairs: String = (0..300).map(|at| format!("[{}, {at}],", at % 7)).collect();
    for (reverse, expected) in [("false", "0 7 14"), ("true", "6 13 20")] {
        assert_eq!(
            text(&format!(
                "{{% set s = [{pairs}] | sort(attribute=0, reverse={reverse}) %}}{{{{ s[0][1] }}}} {{{{ s[1][1] }}}} {{{{ s[2][1] }}}}"
            )),
            expected
        );
    }
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    for template in [
        "{% set ns = namespace(t='x') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
        "{% set ns = namespace(t='x') %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
        "{% set ns = namespace(t=[1]) %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
        "{% set ns = namespace(t=3) %}{% for i in range(60) %}{% set ns.t = ns.t * ns.t %}{% endfor %}",
        "{{ [1] | batch(9999999999, 'x') }}",
        "{{ 'a' * 9999999999 }}",
    ] {
        let told = text(template);
        assert!(
            told.ends_with("the result would be too large"),
            "{template}: {told}"
        );
    }
}

#[test]
fn numbers_at_the_edges_of_what_fits_end_nothing() {
    for template in [
        "{{ '5'.zfill(-9223372036854775808) }}",
        "{{ 'x' | truncate(9223372036854775807, leeway=9223372036854775807) }}",
        "{{ 2.5 | round(-2147483648) }}",
        "{{ 2.5 | round(2147483647) }}",
        "{{ range(-9223372036854775807, 9223372036854775807, 3)[2] }}",
        "{{ range(-9223372036854775807, 9223372036854775807, 3)[6148914691236517000] }}",
    ] {
        assert!(
            rendered(template).is_ok(),
            "{template}: {:?}",
            rendered(template)
        );
    }
    assert_eq!(text("{{ '%.70000d' % 1 }}").len(), 70_000);
    assert_eq!(
        text("{{ '{0[a]é}'.format({'a': 1}) }}"),
        "Only '.' or '[' may follow ']' in format field specifier"
    );
}

#[test]
fn expressions_as_deep_as_they_may_be_in_variables_as_deep_as_they_may_be_fit_on_the_stack() {
    let deep = |inner: &str| format!("{{{{ {}{inner}{} }}}}", "[".repeat(50), "]".repeat(50));
    let variables: Dict = (0..80)
        .map(|at| {
            let template = deep(&format!("v{}", at + 1));
            (format!("v{at}"), Value::Str(Str::template(template)))
        })
        .collect();
    let done = thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            environment()
                .render(&"{{ v0 }}".into(), &variables)
                .is_err()
        })
        .expect("a thread")
        .join();
    assert!(done.is_ok_and(|refused| refused));
}
