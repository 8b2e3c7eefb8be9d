"""Object stores that speak S3: our own client, of the standard library only.

Arrow has one too, which can neither say which version of an object is to be read (If-Match) nor that one mustn't be
replaced (If-None-Match), tells errors by their text, and brings 17 MB that a worker's image does without.
"""
