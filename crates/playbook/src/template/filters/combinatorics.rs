//! Filters that put the items of several lists together.

use consort_jinja::{Arguments, Environment, Error, Result, State, Value, integer};

use super::{add_of_items, given};

/// More rows than this are not made.
const MOST: usize = 5_000_000;

pub(super) fn add(environment: &mut Environment) {
    add_of_items(
        environment,
        &[
            ("product", product),
            ("permutations", permutations),
            ("combinations", combinations),
            ("zip", zip),
            ("zip_longest", zip_longest),
        ],
    );
}

fn pools(value: &Value, arguments: &Arguments) -> Result<Vec<Vec<Value>>> {
    std::iter::once(value)
        .chain(&arguments.positional)
        .map(Value::iterate)
        .collect()
}

fn too_many<T>() -> Result<T> {
    Err(Error::failed("the result would be too large"))
}

fn product(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let repeat = arguments
        .named("repeat")
        .map_or(Ok(1), integer)?
        .clamp(0, 64) as usize;
    let once = pools(&value, arguments)?;
    let mut pools = Vec::with_capacity(once.len() * repeat);
    for _ in 0..repeat {
        pools.extend(once.iter().cloned());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for pool in &pools {
        if rows.len().saturating_mul(pool.len()) > MOST {
            return too_many();
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                pool.iter().map(move |item| {
                    let mut longer = row.clone();
                    longer.push(item.clone());
                    longer
                })
            })
            .collect();
    }
    Ok(tuples(rows))
}

fn tuples(rows: Vec<Vec<Value>>) -> Value {
    Value::list(rows.into_iter().map(Value::tuple).collect())
}

fn permutations(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [length] = arguments.bind("permutations", ["r"])?;
    let items = value.iterate()?;
    let length = given(length).map_or(Ok(items.len() as i64), |length| integer(&length))?;
    let length = usize::try_from(length).map_err(|_| Error::failed("r must be non-negative"))?;
    let mut rows = Vec::new();
    let mut used = vec![false; items.len()];
    let mut row = Vec::new();
    if length <= items.len() {
        permute(&items, length, &mut used, &mut row, &mut rows)?;
    }
    Ok(tuples(rows))
}

fn permute(
    items: &[Value],
    length: usize,
    used: &mut [bool],
    row: &mut Vec<Value>,
    rows: &mut Vec<Vec<Value>>,
) -> Result<()> {
    if row.len() == length {
        if rows.len() >= MOST {
            return too_many();
        }
        rows.push(row.clone());
        return Ok(());
    }
    for at in 0..items.len() {
        if !used[at] {
            used[at] = true;
            row.push(items[at].clone());
            permute(items, length, used, row, rows)?;
            row.pop();
            used[at] = false;
        }
    }
    Ok(())
}

fn combinations(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [length] = arguments.bind("combinations", ["r"])?;
    let items = value.iterate()?;
    let Some(length) = length else {
        return Err(Error::failed(
            "combinations() missing required argument 'r' (pos 2)",
        ));
    };
    let length = integer(&length)?;
    let length = usize::try_from(length).map_err(|_| Error::failed("r must be non-negative"))?;
    let mut rows = Vec::new();
    if length <= items.len() {
        let mut chosen: Vec<usize> = (0..length).collect();
        loop {
            if rows.len() >= MOST {
                return too_many();
            }
            rows.push(chosen.iter().map(|at| items[*at].clone()).collect());
            let Some(place) = (0..length)
                .rev()
                .find(|place| chosen[*place] != place + items.len() - length)
            else {
                break;
            };
            chosen[place] += 1;
            for next in place + 1..length {
                chosen[next] = chosen[next - 1] + 1;
            }
        }
    }
    Ok(tuples(rows))
}

fn zip(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let pools = pools(&value, arguments)?;
    let length = pools.iter().map(Vec::len).min().unwrap_or(0);
    if arguments
        .named("strict")
        .is_some_and(|strict| strict.truth().unwrap_or(false))
        && let Some(at) = pools.iter().position(|pool| pool.len() != pools[0].len())
    {
        let kind = if pools[at].len() < pools[0].len() {
            "shorter"
        } else {
            "longer"
        };
        let before = if at == 1 {
            "1".to_owned()
        } else {
            format!("s 1-{at}")
        };
        return Err(Error::failed(format!(
            "zip() argument {} is {kind} than argument{}{before}",
            at + 1,
            if at == 1 { " " } else { "" }
        )));
    }
    Ok(tuples(
        (0..length)
            .map(|at| pools.iter().map(|pool| pool[at].clone()).collect())
            .collect(),
    ))
}

fn zip_longest(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let fill = arguments.named("fillvalue").cloned().unwrap_or_default();
    let pools = pools(&value, arguments)?;
    let length = pools.iter().map(Vec::len).max().unwrap_or(0);
    Ok(tuples(
        (0..length)
            .map(|at| {
                pools
                    .iter()
                    .map(|pool| pool.get(at).unwrap_or(&fill).clone())
                    .collect()
            })
            .collect(),
    ))
}
