#!/bin/bash
echo go
