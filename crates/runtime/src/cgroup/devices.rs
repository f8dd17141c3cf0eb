//! What devices a container may use: text rules for cgroup v1, an eBPF program for v2.

use std::fmt;

use crate::sys::Instruction;

/// Ways to use a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) mknod: bool,
}

impl Access {
    const ALL: Self = Self {
        read: true,
        write: true,
        mknod: true,
    };
    const MKNOD: Self = Self {
        read: false,
        write: false,
        mknod: true,
    };

    pub(crate) fn parse(text: &str) -> Self {
        Self {
            read: text.contains('r'),
            write: text.contains('w'),
            mknod: text.contains('m'),
        }
    }
}

/// One thing that is allowed. `None` in a number means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `b` or `c`; `a` is both.
    pub(crate) kind: char,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) access: Access,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| {
            number.map_or_else(|| "*".to_owned(), |number| number.to_string())
        };
        write!(
            f,
            "{} {}:{} ",
            self.kind,
            number(self.major),
            number(self.minor)
        )?;
        for (letter, set) in [
            ('r', self.access.read),
            ('w', self.access.write),
            ('m', self.access.mknod),
        ] {
            if set {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// What every container gets: making any node (without being able to open it), and the pseudo-devices
/// and terminals that the OCI runtime specification requires.
pub(crate) fn default_rules() -> Vec<Rule> {
    let node = |major, minor| Rule {
        kind: 'c',
        major: Some(major),
        minor,
        access: Access::ALL,
    };
    vec![
        Rule {
            kind: 'c',
            major: None,
            minor: None,
            access: Access::MKNOD,
        },
        Rule {
            kind: 'b',
            major: None,
            minor: None,
            access: Access::MKNOD,
        },
        node(1, Some(3)),
        node(1, Some(5)),
        node(1, Some(7)),
        node(1, Some(8)),
        node(1, Some(9)),
        node(5, Some(0)),
        node(5, Some(1)),
        node(5, Some(2)),
        node(136, None),
    ]
}

/// The program for the rules: the first match allows, the end refuses.
///
/// The kernel passes a `bpf_cgroup_dev_ctx`: access (high half) and type (low half) in one word, then
/// the major and the minor number.
pub(crate) fn program(rules: &[Rule]) -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const AND_IMMEDIATE: u8 = 0x54;
    const SHIFT_RIGHT: u8 = 0x74;
    const MOVE_IMMEDIATE: u8 = 0xb7;
    const MOVE_REGISTER: u8 = 0xbf;
    const NOT_EQUAL: u8 = 0x55;
    const EXIT: u8 = 0x95;
    let op = |code, to: u8, from: u8, offset, immediate| Instruction {
        code,
        registers: to | (from << 4),
        offset,
        immediate,
    };
    // r2 = type, r3 = access, r4 = major, r5 = minor; r6 is scratch.
    let mut program = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(MOVE_REGISTER, 3, 2, 0, 0),
        op(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        op(SHIFT_RIGHT, 3, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules {
        let mut block = Vec::new();
        // Each check jumps over the rest of the block; the distances are filled in below.
        match rule.kind {
            'b' => block.push(op(NOT_EQUAL, 2, 0, 0, 1)),
            'c' => block.push(op(NOT_EQUAL, 2, 0, 0, 2)),
            _ => {}
        }
        let allowed = i32::from(rule.access.mknod)
            | i32::from(rule.access.read) << 1
            | i32::from(rule.access.write) << 2;
        if allowed != 7 {
            block.push(op(MOVE_REGISTER, 6, 3, 0, 0));
            block.push(op(AND_IMMEDIATE, 6, 0, 0, 7 & !allowed));
            block.push(op(NOT_EQUAL, 6, 0, 0, 0));
        }
        if let Some(major) = rule.major {
            block.push(op(NOT_EQUAL, 4, 0, 0, major as i32));
        }
        if let Some(minor) = rule.minor {
            block.push(op(NOT_EQUAL, 5, 0, 0, minor as i32));
        }
        block.push(op(MOVE_IMMEDIATE, 0, 0, 0, 1));
        block.push(op(EXIT, 0, 0, 0, 0));
        let length = block.len();
        for (position, instruction) in block.iter_mut().enumerate() {
            if instruction.code == NOT_EQUAL {
                instruction.offset = (length - position - 1) as i16;
            }
        }
        // Without a check it allows everything, and the verifier refuses instructions that are never reached.
        let everything = !block
            .iter()
            .any(|instruction| instruction.code == NOT_EQUAL);
        program.extend(block);
        if everything {
            return program;
        }
    }
    program.push(op(MOVE_IMMEDIATE, 0, 0, 0, 0));
    program.push(op(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program the way the kernel would, for the few instructions it uses.
    fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [kind | access << 16, major, minor];
        let mut r = [0_u32; 11];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers,
                offset,
                immediate,
            } = program[at];
            let (to, from) = (usize::from(registers & 15), usize::from(registers >> 4));
            at += 1;
            match code {
                0x61 => r[to] = context[offset as usize / 4],
                0x54 => r[to] &= immediate as u32,
                0x74 => r[to] >>= immediate,
                0xb7 => r[to] = immediate as u32,
                0xbf => r[to] = r[from],
                0x55 if r[to] != immediate as u32 => at += offset as usize,
                0x55 => {}
                0x95 => return r[0] == 1,
                _ => panic!("unexpected instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn null_may_be_opened_and_a_disk_only_made() {
        let program = program(&default_rules());
        let (mknod, read, write) = (1, 2, 4);
        assert!(run(&program, 2, read | write, 1, 3));
        assert!(run(&program, 2, read | write, 136, 7));
        assert!(run(&program, 1, mknod, 8, 0));
        assert!(!run(&program, 1, read, 8, 0));
        assert!(!run(&program, 2, read, 10, 200));
        assert!(!run(&program, 1, read | write, 1, 3));
    }

    #[test]
    fn a_rule_that_allows_everything_ends_the_program() {
        let mut rules = default_rules();
        rules.push(Rule {
            kind: 'a',
            major: None,
            minor: None,
            access: Access::ALL,
        });
        let whole = program(&rules);
        assert!(run(&whole, 1, 2, 8, 0));
        // Nothing after it: the kernel refuses a program with a part that is never reached.
        rules.extend(default_rules());
        assert_eq!(program(&rules).len(), whole.len());
    }

    #[test]
    fn rules_read_as_cgroup_v1_writes_them() {
        let text: Vec<_> = default_rules()
            .iter()
            .take(3)
            .map(Rule::to_string)
            .collect();
        assert_eq!(text, ["c *:* m", "b *:* m", "c 1:3 rwm"]);
    }
}
