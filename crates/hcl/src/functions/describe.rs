//! What each function is for, in a sentence: documentation, apart from the functions so that evaluating costs nothing for it.

/// What a core function is for; empty if there is no such function. The name is without `core::`.
pub fn describe(name: &str) -> &'static str {
    TEXTS
        .binary_search_by_key(&name, |(known, _)| *known)
        .map_or("", |found| TEXTS[found].1)
}

/// What a parameter of a core function is for; empty where the name says it.
pub fn describe_parameter(function: &str, parameter: &str) -> &'static str {
    const PREFIX: &str =
        "An address range in CIDR notation (RFC 4632, section 3.1), such as `10.0.0.0/16`.";
    match (function, parameter) {
        ("bcrypt", "cost") => "How much work a hash takes; 10 unless given.",
        ("chunklist", "size") => "The length of all chunks but the last, which may be shorter.",
        ("cidrhost" | "cidrnetmask" | "cidrsubnet" | "cidrsubnets", "prefix") => PREFIX,
        ("cidrhost", "hostnum") => {
            "The host's number, which must fit into the bits after the prefix."
        }
        ("cidrsubnet", "newbits") => "How many bits the prefix is lengthened by.",
        ("cidrsubnet", "netnum") => "The subnet's number, which must fit into the new bits.",
        ("coalescelist", "vals") => "Lists or tuples, tried in this order.",
        ("indent", "spaces") => "How many spaces follow each line break.",
        ("join", "separator") => "What stands between the strings.",
        ("join", "lists") => "Lists of strings, joined one after the other.",
        ("keys", "inputMap") => {
            "A map, or an object, for which the result is a tuple of attribute names."
        }
        ("setproduct", "sets") => {
            "Sets, lists or tuples; if none of them is a set, the result keeps their order."
        }
        ("templatestring", "template") => "A reference to the string that is the template.",
        ("templatestring", "vars") => "The variables of the template.",
        ("trim", "cutset") => "The characters to take off, in any order.",
        _ => "",
    }
}

/// Sorted by name.
const TEXTS: &[(&str, &str)] = &[
    ("abs", "`abs` gives a number without its sign."),
    (
        "abspath",
        "`abspath` makes a path absolute, from the working directory if it is relative.",
    ),
    (
        "alltrue",
        "`alltrue` tells whether all elements are `true` or `\"true\"`, as they are if there are none.",
    ),
    (
        "anytrue",
        "`anytrue` tells whether some element is `true` or `\"true\"`.",
    ),
    (
        "base64decode",
        "`base64decode` gives the UTF-8 text that a Base64 string stands for.",
    ),
    (
        "base64encode",
        "`base64encode` encodes a text's UTF-8 bytes in Base64.",
    ),
    (
        "base64gzip",
        "`base64gzip` compresses a text with gzip and encodes that in Base64.",
    ),
    (
        "base64sha256",
        "`base64sha256` gives the SHA-256 hash of a text in Base64.",
    ),
    (
        "base64sha512",
        "`base64sha512` gives the SHA-512 hash of a text in Base64.",
    ),
    ("basename", "`basename` gives the last part of a path."),
    (
        "bcrypt",
        "`bcrypt` hashes a password with the Blowfish cipher.",
    ),
    (
        "can",
        "`can` tells whether an expression evaluates without an error.",
    ),
    (
        "ceil",
        "`ceil` gives the least whole number that is not less than a number.",
    ),
    ("chomp", "`chomp` takes line breaks off the end of a text."),
    (
        "chunklist",
        "`chunklist` cuts a list into lists of a given length.",
    ),
    (
        "cidrhost",
        "`cidrhost` gives the address of a host in an address range.",
    ),
    (
        "cidrnetmask",
        "`cidrnetmask` gives the netmask of an IPv4 address range.",
    ),
    (
        "cidrsubnet",
        "`cidrsubnet` gives a subnet of an address range by its number.",
    ),
    (
        "cidrsubnets",
        "`cidrsubnets` gives subnets of an address range that follow each other.",
    ),
    (
        "coalesce",
        "`coalesce` gives the first argument that is neither null nor an empty string.",
    ),
    (
        "coalescelist",
        "`coalescelist` gives the first list that is not empty.",
    ),
    (
        "compact",
        "`compact` takes empty and null strings out of a list.",
    ),
    ("concat", "`concat` puts lists one behind the other."),
    (
        "contains",
        "`contains` tells whether a list or set has an element.",
    ),
    (
        "csvdecode",
        "`csvdecode` reads comma-separated values, a list of objects by the names in the first line.",
    ),
    ("dirname", "`dirname` gives a path without its last part."),
    (
        "distinct",
        "`distinct` keeps the first of equal elements of a list.",
    ),
    (
        "element",
        "`element` gives the element at an index, counted on from the start beyond the end.",
    ),
    (
        "endswith",
        "`endswith` tells whether a text ends with another.",
    ),
    (
        "ephemeralasnull",
        "`ephemeralasnull` puts null in place of ephemeral values.",
    ),
    ("file", "`file` gives the text of a file."),
    (
        "filebase64",
        "`filebase64` gives the bytes of a file in Base64.",
    ),
    (
        "filebase64sha256",
        "`filebase64sha256` gives the SHA-256 hash of a file in Base64.",
    ),
    (
        "filebase64sha512",
        "`filebase64sha512` gives the SHA-512 hash of a file in Base64.",
    ),
    (
        "fileexists",
        "`fileexists` tells whether there is a file at a path.",
    ),
    (
        "filemd5",
        "`filemd5` gives the MD5 hash of a file in hexadecimal digits.",
    ),
    (
        "fileset",
        "`fileset` gives the files below a directory whose paths match a pattern.",
    ),
    (
        "filesha1",
        "`filesha1` gives the SHA-1 hash of a file in hexadecimal digits.",
    ),
    (
        "filesha256",
        "`filesha256` gives the SHA-256 hash of a file in hexadecimal digits.",
    ),
    (
        "filesha512",
        "`filesha512` gives the SHA-512 hash of a file in hexadecimal digits.",
    ),
    (
        "flatten",
        "`flatten` puts the elements of lists in a list in their place.",
    ),
    (
        "floor",
        "`floor` gives the greatest whole number that is not greater than a number.",
    ),
    (
        "format",
        "`format` puts values into a text as verbs like `%s` and `%d` say.",
    ),
    (
        "formatdate",
        "`formatdate` writes a time in a format of one's own.",
    ),
    (
        "formatlist",
        "`formatlist` formats once for each element of the lists it is given.",
    ),
    (
        "indent",
        "`indent` puts spaces before all lines of a text but the first.",
    ),
    (
        "index",
        "`index` gives the index of the first element equal to a value.",
    ),
    (
        "issensitive",
        "`issensitive` tells whether a value is marked as sensitive.",
    ),
    (
        "join",
        "`join` puts strings together with a separator between them.",
    ),
    ("jsondecode", "`jsondecode` reads a text as JSON."),
    ("jsonencode", "`jsonencode` writes a value as JSON."),
    ("keys", "`keys` gives the keys of a map in order."),
    (
        "length",
        "`length` gives the number of elements, or of characters of a string.",
    ),
    ("log", "`log` gives the logarithm of a number in a base."),
    (
        "lookup",
        "`lookup` gives the value of a key in a map, or a default.",
    ),
    ("lower", "`lower` puts a text in lower case."),
    (
        "matchkeys",
        "`matchkeys` keeps the elements of a list whose keys at the same index are searched for.",
    ),
    ("max", "`max` gives the greatest number."),
    (
        "md5",
        "`md5` gives the MD5 hash of a text in hexadecimal digits.",
    ),
    (
        "merge",
        "`merge` puts maps or objects together, later ones over earlier ones.",
    ),
    ("min", "`min` gives the least number."),
    (
        "nonsensitive",
        "`nonsensitive` takes the mark of being sensitive from a value.",
    ),
    (
        "one",
        "`one` gives the only element of a list, or null if it is empty.",
    ),
    ("parseint", "`parseint` reads a whole number in a base."),
    (
        "pathexpand",
        "`pathexpand` puts the home directory in place of a leading `~`.",
    ),
    (
        "plantimestamp",
        "`plantimestamp` gives the time the plan was made, the same in its apply.",
    ),
    ("pow", "`pow` raises a number to a power."),
    (
        "range",
        "`range` gives numbers from a start up to a limit, a step apart.",
    ),
    (
        "regex",
        "`regex` gives the first match of a regular expression, or its groups.",
    ),
    (
        "regexall",
        "`regexall` gives all matches of a regular expression.",
    ),
    (
        "replace",
        "`replace` puts a text in place of each occurrence of another, or of a regular expression in slashes.",
    ),
    ("reverse", "`reverse` turns the order of a list round."),
    (
        "rsadecrypt",
        "`rsadecrypt` decrypts a Base64 text with an RSA key.",
    ),
    (
        "sensitive",
        "`sensitive` marks a value so that it is not shown.",
    ),
    (
        "setintersection",
        "`setintersection` gives the elements that all sets have.",
    ),
    (
        "setproduct",
        "`setproduct` gives all combinations of an element of each set.",
    ),
    (
        "setsubtract",
        "`setsubtract` gives the elements of one set that another does not have.",
    ),
    (
        "setunion",
        "`setunion` gives the elements that some set has.",
    ),
    (
        "sha1",
        "`sha1` gives the SHA-1 hash of a text in hexadecimal digits.",
    ),
    (
        "sha256",
        "`sha256` gives the SHA-256 hash of a text in hexadecimal digits.",
    ),
    (
        "sha512",
        "`sha512` gives the SHA-512 hash of a text in hexadecimal digits.",
    ),
    (
        "signum",
        "`signum` gives the sign of a number as -1, 0 or 1.",
    ),
    (
        "slice",
        "`slice` gives the elements of a list from one index up to another.",
    ),
    ("sort", "`sort` puts strings in order of their characters."),
    (
        "split",
        "`split` cuts a text at each occurrence of a separator.",
    ),
    (
        "startswith",
        "`startswith` tells whether a text starts with another.",
    ),
    (
        "strcontains",
        "`strcontains` tells whether a text contains another.",
    ),
    (
        "strrev",
        "`strrev` turns the order of a text's characters round.",
    ),
    (
        "substr",
        "`substr` gives part of a text by offset and length.",
    ),
    ("sum", "`sum` adds numbers up."),
    (
        "templatefile",
        "`templatefile` renders a file as a template with variables of its own.",
    ),
    (
        "templatestring",
        "`templatestring` renders a string as a template with variables of its own.",
    ),
    (
        "textdecodebase64",
        "`textdecodebase64` decodes Base64 and reads the bytes in a character set.",
    ),
    (
        "textencodebase64",
        "`textencodebase64` encodes a text in a character set and that in Base64.",
    ),
    ("timeadd", "`timeadd` adds a duration to a time."),
    (
        "timecmp",
        "`timecmp` compares two times and gives -1, 0 or 1.",
    ),
    (
        "timestamp",
        "`timestamp` gives the present time in the form of RFC 3339.",
    ),
    (
        "title",
        "`title` puts the first letter of each word in upper case.",
    ),
    ("tobool", "`tobool` makes a truth value of its argument."),
    ("tolist", "`tolist` makes a list of its argument."),
    ("tomap", "`tomap` makes a map of its argument."),
    ("tonumber", "`tonumber` makes a number of its argument."),
    (
        "toset",
        "`toset` makes a set of its argument, each element once and in no order.",
    ),
    ("tostring", "`tostring` makes a string of its argument."),
    (
        "transpose",
        "`transpose` makes keys of the strings in a map of lists, and the other way round.",
    ),
    (
        "trim",
        "`trim` takes certain characters off both ends of a text.",
    ),
    (
        "trimprefix",
        "`trimprefix` takes a prefix off a text that has it.",
    ),
    (
        "trimspace",
        "`trimspace` takes white space off both ends of a text.",
    ),
    (
        "trimsuffix",
        "`trimsuffix` takes a suffix off a text that has it.",
    ),
    (
        "try",
        "`try` gives the first of its arguments that evaluates without an error.",
    ),
    ("upper", "`upper` puts a text in upper case."),
    (
        "urlencode",
        "`urlencode` escapes a text for the query of a URL.",
    ),
    ("uuid", "`uuid` gives a random UUID."),
    (
        "uuidv5",
        "`uuidv5` gives the UUID of a name in a namespace.",
    ),
    (
        "values",
        "`values` gives the values of a map in the order of its keys.",
    ),
    ("yamldecode", "`yamldecode` reads a text as YAML."),
    ("yamlencode", "`yamlencode` writes a value as YAML."),
    (
        "zipmap",
        "`zipmap` makes a map of a list of keys and a list of values.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_described_and_nothing_else() {
        assert!(TEXTS.is_sorted());
        let known = super::super::core(&super::super::Options::default());
        for name in known.keys().filter(|name| !name.contains("::")) {
            assert_ne!(describe(name), "", "{name}");
        }
        for (name, _) in TEXTS {
            assert!(known.contains_key(*name), "{name}");
        }
    }
}
