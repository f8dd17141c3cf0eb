//! Scalars: plain, quoted, in blocks.

use super::super::Mark;
use super::{Kind, Result, Scanner, Style, Token, is_break};

impl Scanner {
    pub(super) fn fetch_block_scalar(&mut self, literal: bool) -> Result<()> {
        self.remove_key()?;
        self.simple_key_allowed = true;
        let context = Some("while scanning a block scalar");
        let start = self.mark;
        self.skip();
        let mut chomp: Option<bool> = None;
        let mut increment = 0;
        for _ in 0..2 {
            match self.at(0) {
                Some(c @ ('+' | '-')) if chomp.is_none() => {
                    chomp = Some(c == '+');
                    self.skip();
                }
                Some('0') if increment == 0 => {
                    return self.error(context, "found an indentation indicator equal to 0");
                }
                Some(c @ '1'..='9') if increment == 0 => {
                    increment = c.to_digit(10).unwrap_or(1) as usize;
                    self.skip();
                }
                _ => break,
            }
        }
        self.skip_blanks();
        if self.is(0, '#') {
            while !self.breakz(0) {
                self.skip();
            }
        }
        if !self.breakz(0) {
            return self.error(context, "did not find expected comment or line break");
        }
        if self.breaks(0) {
            self.skip_line();
        }
        let mut indent = if increment > 0 {
            (self.indent.max(0) as usize) + increment
        } else {
            0
        };
        let mut text = String::new();
        let mut leading_break = String::new();
        let mut trailing = String::new();
        let mut leading_blank = false;
        let mut end = self.block_breaks(&mut indent, &mut trailing)?;
        while self.mark.column == indent && self.at(0).is_some() {
            let trailing_blank = self.blank(0);
            if !literal && leading_break.starts_with('\n') && !leading_blank && !trailing_blank {
                if trailing.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&leading_break);
            }
            leading_break.clear();
            text.push_str(&trailing);
            trailing.clear();
            leading_blank = self.blank(0);
            while let Some(c) = self.at(0).filter(|c| !is_break(*c)) {
                text.push(c);
                self.skip();
            }
            if self.at(0).is_some() {
                self.read_line(&mut leading_break);
            }
            end = self.block_breaks(&mut indent, &mut trailing)?;
        }
        if chomp != Some(false) {
            text.push_str(&leading_break);
        }
        if chomp == Some(true) {
            text.push_str(&trailing);
        }
        self.tokens.push_back(Token {
            kind: Kind::Scalar(text, Style::Block),
            start,
            end,
        });
        Ok(())
    }

    fn block_breaks(&mut self, indent: &mut usize, breaks: &mut String) -> Result<Mark> {
        let mut widest = 0;
        let mut end = self.mark;
        loop {
            while (*indent == 0 || self.mark.column < *indent) && self.is(0, ' ') {
                self.skip();
            }
            widest = widest.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.is(0, '\t') {
                return self.error(
                    Some("while scanning a block scalar"),
                    "found a tab character where an indentation space is expected",
                );
            }
            if !self.breaks(0) {
                break;
            }
            self.read_line(breaks);
            end = self.mark;
        }
        if *indent == 0 {
            *indent = widest.max((self.indent + 1).max(0) as usize).max(1);
        }
        Ok(end)
    }

    pub(super) fn fetch_flow_scalar(&mut self, single: bool) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let context = Some("while scanning a quoted scalar");
        let start = self.mark;
        self.skip();
        let mut text = String::new();
        let mut blanks = String::new();
        let mut leading_break = String::new();
        let mut trailing = String::new();
        loop {
            if self.mark.column == 0
                && (self.document_indicator('-') || self.document_indicator('.'))
            {
                return self.error(context, "found unexpected document indicator");
            }
            if self.at(0).is_none() {
                return self.error(context, "found unexpected end of stream");
            }
            let mut leading_blanks = false;
            while !self.blankz(0) {
                let Some(c) = self.at(0) else { break };
                if single && c == '\'' && self.is(1, '\'') {
                    text.push('\'');
                    self.skip();
                    self.skip();
                } else if c == (if single { '\'' } else { '"' }) {
                    break;
                } else if !single && c == '\\' && self.breaks(1) {
                    self.skip();
                    self.skip_line();
                    leading_blanks = true;
                    break;
                } else if !single && c == '\\' {
                    self.escape(&mut text)?;
                } else {
                    text.push(c);
                    self.skip();
                }
            }
            if self.is(0, if single { '\'' } else { '"' }) {
                break;
            }
            while self.blank(0) || self.breaks(0) {
                if self.blank(0) {
                    if !leading_blanks {
                        blanks.extend(self.at(0));
                    }
                    self.skip();
                } else if leading_blanks {
                    self.read_line(&mut trailing);
                } else {
                    blanks.clear();
                    self.read_line(&mut leading_break);
                    leading_blanks = true;
                }
            }
            if leading_blanks {
                fold(&mut text, &mut leading_break, &mut trailing);
            } else {
                text.push_str(&blanks);
                blanks.clear();
            }
        }
        self.skip();
        let style = if single { Style::Single } else { Style::Double };
        self.push(Kind::Scalar(text, style), start);
        Ok(())
    }

    fn escape(&mut self, text: &mut String) -> Result<()> {
        let context = Some("while parsing a quoted scalar");
        let (c, digits) = match self.at(1) {
            Some('0') => ('\0', 0),
            Some('a') => ('\u{7}', 0),
            Some('b') => ('\u{8}', 0),
            Some('t' | '\t') => ('\t', 0),
            Some('n') => ('\n', 0),
            Some('v') => ('\u{b}', 0),
            Some('f') => ('\u{c}', 0),
            Some('r') => ('\r', 0),
            Some('e') => ('\u{1b}', 0),
            Some(' ') => (' ', 0),
            Some('"') => ('"', 0),
            Some('/') => ('/', 0),
            Some('\\') => ('\\', 0),
            Some('N') => ('\u{85}', 0),
            Some('_') => ('\u{a0}', 0),
            Some('L') => ('\u{2028}', 0),
            Some('P') => ('\u{2029}', 0),
            Some('x') => (' ', 2),
            Some('u') => (' ', 4),
            Some('U') => (' ', 8),
            _ => return self.error(context, "found unknown escape character"),
        };
        self.skip();
        self.skip();
        if digits == 0 {
            text.push(c);
            return Ok(());
        }
        let mut value = 0_u32;
        for offset in 0..digits {
            let Some(digit) = self.at(offset).and_then(|c| c.to_digit(16)) else {
                return self.error(context, "did not find expected hexdecimal number");
            };
            value = value.wrapping_mul(16).wrapping_add(digit);
        }
        let Some(c) = char::from_u32(value) else {
            return self.error(context, "found invalid Unicode character escape code");
        };
        text.push(c);
        for _ in 0..digits {
            self.skip();
        }
        Ok(())
    }

    pub(super) fn scan_plain(&mut self) -> Result<()> {
        let context = Some("while scanning a plain scalar");
        let start = self.mark;
        let mut end = self.mark;
        let mut text = String::new();
        let mut blanks = String::new();
        let mut leading_break = String::new();
        let mut trailing = String::new();
        let mut leading_blanks = false;
        let indent = self.indent + 1;
        loop {
            if self.mark.column == 0
                && (self.document_indicator('-') || self.document_indicator('.'))
            {
                break;
            }
            if self.is(0, '#') {
                break;
            }
            while !self.blankz(0) {
                let Some(c) = self.at(0) else { break };
                if self.flow > 0
                    && c == ':'
                    && matches!(self.at(1), Some(',' | '?' | '[' | ']' | '{' | '}'))
                {
                    return self.error(context, "found unexpected ':'");
                }
                if (c == ':' && self.blankz(1))
                    || (self.flow > 0 && matches!(c, ',' | '[' | ']' | '{' | '}'))
                {
                    break;
                }
                if leading_blanks {
                    fold(&mut text, &mut leading_break, &mut trailing);
                    leading_blanks = false;
                } else {
                    text.push_str(&blanks);
                }
                blanks.clear();
                text.push(c);
                self.skip();
                end = self.mark;
            }
            if !(self.blank(0) || self.breaks(0)) {
                break;
            }
            while self.blank(0) || self.breaks(0) {
                if self.blank(0) {
                    if leading_blanks && (self.mark.column as isize) < indent && self.is(0, '\t') {
                        return self
                            .error(context, "found a tab character that violates indentation");
                    }
                    if !leading_blanks {
                        blanks.extend(self.at(0));
                    }
                    self.skip();
                } else if leading_blanks {
                    self.read_line(&mut trailing);
                } else {
                    blanks.clear();
                    self.read_line(&mut leading_break);
                    leading_blanks = true;
                }
            }
            if self.flow == 0 && (self.mark.column as isize) < indent {
                break;
            }
        }
        self.tokens.push_back(Token {
            kind: Kind::Scalar(text, Style::Plain),
            start,
            end,
        });
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        Ok(())
    }
}

/// Folds line breaks: one is a space, more are one fewer.
fn fold(text: &mut String, leading_break: &mut String, trailing: &mut String) {
    if leading_break.starts_with('\n') {
        if trailing.is_empty() {
            text.push(' ');
        } else {
            text.push_str(trailing);
        }
    } else {
        text.push_str(leading_break);
        text.push_str(trailing);
    }
    leading_break.clear();
    trailing.clear();
}
