//! The order in which Python's sets have whole numbers: it follows from how they are kept, and playbooks can see it. That of
//! texts is another in each process there; here they stay as they came.

use consort_jinja::Value;

/// How many neighbours are looked at before jumping on.
const NEIGHBOURS: usize = 9;

/// A set of numbers as CPython keeps it: a table with open addressing.
struct Table {
    places: Vec<Option<i64>>,
    used: usize,
}

fn hash(number: i64) -> u64 {
    const MODULUS: i64 = (1 << 61) - 1;
    let hash = number % MODULUS;
    (if hash == -1 { -2 } else { hash }) as u64
}

impl Table {
    fn new() -> Self {
        Table {
            places: vec![None; 8],
            used: 0,
        }
    }

    fn add(&mut self, number: i64) {
        if self.insert(number) {
            self.used += 1;
            if self.used * 5 >= (self.places.len() - 1) * 3 {
                let wanted = if self.used > 50_000 {
                    self.used * 2
                } else {
                    self.used * 4
                };
                self.resize(wanted);
            }
        }
    }

    fn resize(&mut self, wanted: usize) {
        let mut size = 8;
        while size <= wanted {
            size <<= 1;
        }
        let old = std::mem::replace(&mut self.places, vec![None; size]);
        for number in old.into_iter().flatten() {
            self.insert(number);
        }
    }

    fn insert(&mut self, number: i64) -> bool {
        let mask = self.places.len() - 1;
        let mut perturb = hash(number);
        let mut at = perturb as usize & mask;
        loop {
            let last = if at + NEIGHBOURS <= mask {
                at + NEIGHBOURS
            } else {
                at
            };
            for place in at..=last {
                match self.places[place] {
                    None => {
                        self.places[place] = Some(number);
                        return true;
                    }
                    Some(known) if known == number => return false,
                    Some(_) => {}
                }
            }
            perturb >>= 5;
            at = at
                .wrapping_mul(5)
                .wrapping_add(1)
                .wrapping_add(perturb as usize)
                & mask;
        }
    }

    fn of(numbers: &[i64]) -> Self {
        let mut table = Table::new();
        for number in numbers {
            table.add(*number);
        }
        table
    }

    fn numbers(&self) -> Vec<i64> {
        self.places.iter().copied().flatten().collect()
    }

    /// `set(other)`, where other is a set: its table is copied, with room.
    fn copied(&self) -> Self {
        let mut table = Table::new();
        table.merge(self);
        table
    }

    fn merge(&mut self, other: &Table) {
        if (self.used + other.used) * 5 >= (self.places.len() - 1) * 3 {
            self.resize((self.used + other.used) * 2);
        }
        if self.used == 0 && self.places.len() == other.places.len() {
            self.places.clone_from(&other.places);
            self.used = other.used;
            return;
        }
        for number in other.numbers() {
            self.add(number);
        }
    }

    fn holds(&self, number: i64) -> bool {
        self.places.contains(&Some(number))
    }
}

/// How two sets become one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Intersect,
    Subtract,
    Either,
    Unite,
}

/// The numbers of two lists, put together as sets; none if there is something else than whole numbers in them.
pub(super) fn numbers(one: &[Value], two: &[Value], operation: Operation) -> Option<Vec<Value>> {
    let read = |items: &[Value]| -> Option<Vec<i64>> {
        items
            .iter()
            .map(|item| match item {
                Value::Int(number) => Some(*number),
                _ => None,
            })
            .collect()
    };
    let (one, two) = (Table::of(&read(one)?), Table::of(&read(two)?));
    let numbers = match operation {
        Operation::Unite => {
            let mut all = one.copied();
            all.merge(&two);
            all.numbers()
        }
        Operation::Intersect => {
            let (small, large) = if two.used > one.used {
                (&one, &two)
            } else {
                (&two, &one)
            };
            let common: Vec<i64> = small
                .numbers()
                .into_iter()
                .filter(|number| large.holds(*number))
                .collect();
            Table::of(&common).numbers()
        }
        Operation::Subtract => {
            if one.used >> 2 > two.used {
                let mut rest = one.copied();
                for place in &mut rest.places {
                    if place.is_some_and(|number| two.holds(number)) {
                        *place = None;
                    }
                }
                rest.numbers()
            } else {
                let rest: Vec<i64> = one
                    .numbers()
                    .into_iter()
                    .filter(|number| !two.holds(*number))
                    .collect();
                Table::of(&rest).numbers()
            }
        }
        Operation::Either => {
            // The second is copied; what the first has is taken out of it, or put in.
            let mut both = two.copied();
            for number in one.numbers() {
                if let Some(place) = both.places.iter().position(|place| *place == Some(number)) {
                    both.places[place] = None;
                } else {
                    both.add(number);
                }
            }
            both.numbers()
        }
    };
    Some(numbers.into_iter().map(Value::Int).collect())
}
