resource "terraform_data" "b" {
  input = "one"
}
