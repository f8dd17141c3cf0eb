variable "names" {
  type = set(string)
}

variable "size" {
  type = number
}

resource "terraform_data" "each" {
  for_each = var.names
  input    = each.key
}

resource "terraform_data" "some" {
  count = var.size
  input = [for e in terraform_data.each : e.input]
}

module "inner" {
  source = "./inner"
  of     = terraform_data.some[0].id
}
