#!/usr/bin/env bash
# check_subjects.sh <range>            refuses commits of a range whose subject is longer than 72 characters
# check_subjects.sh --message <file>   refuses such a message, as git's hook commit-msg
set -euo pipefail

export LC_ALL=C.UTF-8 # characters, not bytes
longest=72
usage="usage: $0 <range> | --message <file>"

if [ "${1:?$usage}" = --message ]; then
  subjects="$(grep -v '^#' "${2:?$usage}" | head -n 1)"
else
  subjects="$(git log --no-merges --format=%s "$1")"
fi

bad=0
while IFS= read -r subject; do
  if [ "${#subject}" -gt "$longest" ]; then
    echo "subject of ${#subject} characters, $longest are allowed; put the rest into the body: $subject" >&2
    bad=1
  fi
done <<<"$subjects"
exit "$bad"
