//! Directives, tags, anchors and aliases.

use super::{Kind, Result, Scanner, is_word};

impl Scanner {
    pub(super) fn fetch_anchor(&mut self, alias: bool) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        self.skip();
        let mut name = String::new();
        while let Some(c) = self.at(0).filter(|c| is_word(*c)) {
            name.push(c);
            self.skip();
        }
        let ends = self.blankz(0)
            || matches!(
                self.at(0),
                Some('?' | ':' | ',' | ']' | '}' | '%' | '@' | '`')
            );
        if name.is_empty() || !ends {
            return self.error(
                Some(if alias {
                    "while scanning an alias"
                } else {
                    "while scanning an anchor"
                }),
                "did not find expected alphabetic or numeric character",
            );
        }
        self.push(
            if alias {
                Kind::Alias(name)
            } else {
                Kind::Anchor(name)
            },
            start,
        );
        Ok(())
    }

    pub(super) fn fetch_directive(&mut self) -> Result<()> {
        self.unroll(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        let context = Some("while scanning a directive");
        self.skip();
        let mut name = String::new();
        while let Some(c) = self.at(0).filter(|c| is_word(*c)) {
            name.push(c);
            self.skip();
        }
        if name.is_empty() {
            return self.error(context, "could not find expected directive name");
        }
        if !self.blankz(0) {
            return self.error(context, "found unexpected non-alphabetical character");
        }
        let kind = match name.as_str() {
            "YAML" => {
                self.skip_blanks();
                let major = self.version_number()?;
                if !self.is(0, '.') {
                    return self.error(
                        Some("while scanning a %YAML directive"),
                        "did not find expected digit or '.' character",
                    );
                }
                self.skip();
                Kind::Version(major, self.version_number()?)
            }
            "TAG" => {
                let context = Some("while scanning a %TAG directive");
                self.skip_blanks();
                let handle = self.tag_handle(true)?;
                if !self.blank(0) {
                    return self.error(context, "did not find expected whitespace");
                }
                self.skip_blanks();
                let prefix = self.tag_uri(true, true, None)?;
                if !self.blankz(0) {
                    return self.error(context, "did not find expected whitespace or line break");
                }
                Kind::TagDirective(handle, prefix)
            }
            _ => return self.error(context, "found unknown directive name"),
        };
        self.push(kind, start);
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
        Ok(())
    }

    fn version_number(&mut self) -> Result<u32> {
        let context = Some("while scanning a %YAML directive");
        let mut value = 0;
        let mut length = 0;
        while let Some(digit) = self.at(0).and_then(|c| c.to_digit(10)) {
            length += 1;
            if length > 9 {
                return self.error(context, "found extremely long version number");
            }
            value = value * 10 + digit;
            self.skip();
        }
        if length == 0 {
            return self.error(context, "did not find expected version number");
        }
        Ok(value)
    }

    pub(super) fn fetch_tag(&mut self) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        let (handle, suffix) = if self.is(1, '<') {
            self.skip();
            self.skip();
            let suffix = self.tag_uri(true, false, None)?;
            if !self.is(0, '>') {
                return self.error(
                    Some("while scanning a tag"),
                    "did not find the expected '>'",
                );
            }
            self.skip();
            (String::new(), suffix)
        } else {
            let handle = self.tag_handle(false)?;
            if handle.len() > 1 && handle.starts_with('!') && handle.ends_with('!') {
                let suffix = self.tag_uri(false, false, None)?;
                (handle, suffix)
            } else {
                let suffix = self.tag_uri(false, false, Some(&handle))?;
                if suffix.is_empty() {
                    // The tag is `!` alone.
                    (String::new(), "!".to_owned())
                } else {
                    ("!".to_owned(), suffix)
                }
            }
        };
        if !self.blankz(0) && (self.flow == 0 || !self.is(0, ',')) {
            return self.error(
                Some("while scanning a tag"),
                "did not find expected whitespace or line break",
            );
        }
        self.push(Kind::Tag(handle, suffix), start);
        Ok(())
    }

    fn tag_handle(&mut self, directive: bool) -> Result<String> {
        let context = Some(if directive {
            "while scanning a %TAG directive"
        } else {
            "while scanning a tag"
        });
        if !self.is(0, '!') {
            return self.error(context, "did not find expected '!'");
        }
        let mut handle = String::from("!");
        self.skip();
        while let Some(c) = self.at(0).filter(|c| is_word(*c)) {
            handle.push(c);
            self.skip();
        }
        if self.is(0, '!') {
            handle.push('!');
            self.skip();
        } else if directive && handle != "!" {
            return self.error(
                Some("while parsing a %TAG directive"),
                "did not find expected '!'",
            );
        }
        Ok(handle)
    }

    /// `head` is a handle that was no handle but the beginning of the address.
    fn tag_uri(&mut self, flow_too: bool, directive: bool, head: Option<&str>) -> Result<String> {
        let context = Some(if directive {
            "while parsing a %TAG directive"
        } else {
            "while parsing a tag"
        });
        let head = head.unwrap_or("");
        let mut uri = head.get(1..).unwrap_or("").to_owned();
        let mut length = head.len();
        while let Some(c) = self.at(0) {
            let allowed = is_word(c)
                || matches!(
                    c,
                    ';' | '/'
                        | '?'
                        | ':'
                        | '@'
                        | '&'
                        | '='
                        | '+'
                        | '$'
                        | '.'
                        | '%'
                        | '!'
                        | '~'
                        | '*'
                        | '\''
                        | '('
                        | ')'
                )
                || (flow_too && matches!(c, ',' | '[' | ']'));
            if !allowed {
                break;
            }
            if c == '%' {
                uri.push(self.uri_escape(context)?);
            } else {
                uri.push(c);
                self.skip();
            }
            length += 1;
        }
        if length == 0 {
            return self.error(context, "did not find expected tag URI");
        }
        Ok(uri)
    }

    fn uri_escape(&mut self, context: Option<&str>) -> Result<char> {
        let mut bytes = Vec::new();
        let mut width = 0;
        loop {
            let high = self.at(1).and_then(|c| c.to_digit(16));
            let low = self.at(2).and_then(|c| c.to_digit(16));
            let (true, Some(high), Some(low)) = (self.is(0, '%'), high, low) else {
                return self.error(context, "did not find URI escaped octet");
            };
            let byte = (high * 16 + low) as u8;
            if width == 0 {
                width = match byte {
                    0..=0x7f => 1,
                    0xc0..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf7 => 4,
                    _ => {
                        return self.error(context, "found an incorrect leading UTF-8 octet");
                    }
                };
            } else if byte & 0xc0 != 0x80 {
                return self.error(context, "found an incorrect trailing UTF-8 octet");
            }
            bytes.push(byte);
            for _ in 0..3 {
                self.skip();
            }
            if bytes.len() == width {
                break;
            }
        }
        match std::str::from_utf8(&bytes)
            .ok()
            .and_then(|t| t.chars().next())
        {
            Some(c) => Ok(c),
            None => self.error(context, "found an incorrect leading UTF-8 octet"),
        }
    }
}
