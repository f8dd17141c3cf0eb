variable "size" {
  type = number
}

variable "needed" {
  type = string
}
