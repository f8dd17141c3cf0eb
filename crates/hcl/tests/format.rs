//! The canonical form.

use consort_hcl::format::format;

#[test]
fn space_is_set_and_old_forms_are_replaced() {
    let text = "variable foo {\n type=\"list\"\n  default =   \"${ [1,2] }\" # c\n}\nresource   aws_x  \"y\"{\nlong_name=1\nb =  -2+ 3 // d\n  nested{c=1}\n\n\n for = [for x in[1]:x...]\nh = <<-EOT\n   a ${ x }\n  EOT\n}\n";
    let wanted = "variable \"foo\" {\n  type    = list(string)\n  default = [1, 2] # c\n}\nresource \"aws_x\" \"y\" {\n  long_name = 1\n  b         = -2 + 3 // d\n  nested { c = 1 }\n\n\n  for = [for x in [1] : x...]\n  h   = <<-EOT\n   a ${x}\n  EOT\n}\n";
    assert_eq!(
        format(text),
        text,
        "a grouping ellipsis is wrong here, and what is wrong stays"
    );
    let text = text.replace(":x...]", ":x]");
    let wanted = wanted.replace(" : x...]", " : x]");
    assert_eq!(format(&text), wanted);
    assert_eq!(format(&wanted), wanted);
}

#[test]
fn an_interpolation_over_several_lines_gets_parentheses() {
    let text = "a = \"${\n  x ?\n  1 :\n  2\n}\"\n";
    assert_eq!(format(text), "a = (x ?\n  1 :\n2)\n");
}
