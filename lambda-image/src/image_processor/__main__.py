from image_processor.tool import main

main()
