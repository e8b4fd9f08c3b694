#!/usr/bin/env bash
# upload_test_images.sh <bucket> [file or folder …]: uploads images tagged as test data; without any, samples are made.
exec "$(dirname "$0")/../.venv/bin/imagepipe" upload --test-data --bucket "${1:?usage: $0 <bucket> [file or folder …]}" "${@:2}"
