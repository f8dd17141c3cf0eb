#!/bin/sh
echo battery staple
