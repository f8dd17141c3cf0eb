resource "terraform_data" "a" {
  triggers_replace = "one"
}

resource "terraform_data" "b" {
  input = terraform_data.a.id
}
