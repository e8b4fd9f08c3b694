"""From pull request to production: what is affected, what is planned, what was applied, what is promoted.

repository   what git knows
affected     units that a change reaches
bundle       saved plans, sealed, with a manifest of what they were made of
policies     what a plan may not do
summary      plans as Markdown that somebody reads
canary       new versions that get some of the calls first, watched
rollout      a bundle applied, and the environment tried out
record       what was deployed, kept beside the state
promotion    releases from one environment to the next
github       GitHub's API
workflows    what workflows do beside all this
"""
