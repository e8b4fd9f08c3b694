"""From pull request to production: plan, apply, promote.

repository     git
affected       units that a change reaches
policies       rules that a plan must keep
summary        plans as Markdown
evidence       changes of a plan, to be compared with those of another
bundle         plans as they were reviewed, with what they were made of
snapshot       an environment at one moment: states, record, aliases
record         the last deployment, kept beside the state
aliases        the version of each function that callers get
alarms         which raised alarms speak against a release
version_metrics  a new version beside the one before it, by Lambda's metrics
canary         new versions that get a share of the calls first
rollout        applies what was reviewed, or the files as they are
smoke          sends an image through an environment
release_files  live/<env>/release.json at any commit
running        what an environment runs, and whether it may be promoted
proposal       a branch that changes a release file
promotion      releases from one environment to the next
publish_image  builds and pushes the image
image_scan     findings of the registry's scan
waivers        files of exceptions with a last day
releases       versions of this repository
github         GitHub's API
workflows      the other steps of workflows
"""
